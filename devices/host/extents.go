package host

// Extent is a run of a file on its disk, in bytes. Physical counts from the beginning
// of the file system's block device.
type Extent struct{ Logical, Physical, Length uint64 }

// Extents is where a file is on its disk.
type Extents struct {
	Known  bool     // the file system has FIEMAP, and nothing of the file is unwritten
	List   []Extent // in the order of the file
	Shared bool     // some is shared with another file, so that writing it is copied elsewhere
}
