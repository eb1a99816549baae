package fiojob

import "strings"

// aliases are fio's other spellings.
var aliases = map[string]string{
	"readwrite": "rw", "blocksize": "bs", "blockalign": "ba", "blocksize_range": "bsrange",
	"blocksize_unaligned": "bs_unaligned", "iodepth_batch_submit": "iodepth_batch",
	"iodepth_batch_complete": "iodepth_batch_complete_min", "io_limit": "io_size", "fill_fs": "fill_device",
	"fileoffset": "offset", "nr_files": "nrfiles", "timeout": "runtime", "iomem": "mem", "ratemin": "rate_min",
	"ratecycle": "rate_cycle", "wait_for_previous": "stonewall", "disable_bw": "disable_bw_measurement",
	"ss": "steadystate", "ss_dur": "steadystate_duration", "ss_ramp": "steadystate_ramp_time",
	"startdelay": "startdelay", "numa_cpu_nodes": "numa_cpu_nodes",
}

func canonical(key string) string {
	if k, ok := aliases[key]; ok {
		return k
	}
	return key
}

// harmless are keys that change no request, with what they concern.
var harmless = map[string]string{}

func init() {
	for why, keys := range map[string]string{
		"text": "description name",
		"host: which file, through which cache, or how it is made": `directory filename_format unique_filename
			direct buffered invalidate fadvise_hint fallocate overwrite create_serialize create_fsync create_on_open
			allow_file_create allow_mounted_write unlink unlink_each_loop lockfile openfiles uri`,
		"host: processes, memory and processors": `thread mem lockmem hugepage-size nice prio prioclass cpumask
			cpus_allowed cpus_allowed_policy numa_cpu_nodes numa_mem_policy cgroup cgroup_weight cgroup_nodelete
			uid gid ioscheduler thinktime_spin clocksource gtod_cpu gtod_reduce hipri hipri_percentage
			sqthread_poll sqthread_poll_cpu fixedbufs registerfiles nonvectored userspace_reap io_submit_mode
			force_async uncached cmdprio_percentage cmdprio_class cmdprio cmdprio_bssplit`,
		"output": `group_reporting new_group stats per_job_logs write_bw_log write_lat_log write_iops_log
			write_hist_log write_iolog bwavgtime iopsavgtime log_entries log_avg_msec log_hist_msec
			log_hist_coarseness log_max_value log_offset log_prio log_compression log_compression_cpus
			log_store_compressed log_unix_epoch log_alternate_epoch log_alternate_epoch_clock_id
			block_error_percentiles clat_percentiles lat_percentiles slat_percentiles percentile_list
			significant_figures disk_util disable_lat disable_clat disable_slat disable_bw_measurement
			unified_rw_reporting unit_base error_dump rate_cycle bandwidth-log status-interval eta`,
		"the run's end on an error": "continue_on_error exitall_on_error ignore_error max_latency rate_min rate_iops_min",
		"the run's length: nbdbench decides itself when a device has settled": "steadystate steadystate_duration steadystate_ramp_time",
		"the data's content, on which no simulated device depends": `zero_buffers refill_buffers scramble_buffers
			buffer_pattern buffer_compress_percentage buffer_compress_chunk dedupe_percentage dedupe_mode
			dedupe_working_set_percentage dedupe_global`,
		"the draws: a plan has one seed": "randrepeat allrandrepeat randseed random_generator",
	} {
		for _, k := range strings.Fields(keys) {
			harmless[k] = why
		}
	}
}

// refused are keys that change the requests and are in no plan, with what is
// special about them. Their values of no effect are allowed.
var refused = map[string]string{
	"write_barrier":     "no engine of fio implements it, so the job does something else than it says",
	"exec_prerun":       "nothing of a job file is run",
	"exec_postrun":      "nothing of a job file is run",
	"profile":           "a profile is a job of its own",
	"read_iolog":        "a trace is imported with nbdbench import iolog",
	"sync_file_range":   "NBD has no such command",
	"bs_unaligned":      "requests are whole blocks",
	"fill_device":       "a job ends after a number of requests or a time",
	"file_append":       "a device has no end to append to",
	"pre_read":          "the file would be read before the job",
	"create_only":       "the job would do nothing",
	"verify":            "what was written would be read again",
	"trim_percentage":   "trims among the writes",
	"latency_target":    "the depth would depend on the latency",
	"flow":              "jobs would wait for each other",
	"exitall":           "all jobs would end with the first",
	"wait_for":          "only stonewall puts jobs in series",
	"zonemode":          "NBD has no zones",
	"write_hint":        "NBD has no hints",
	"serialize_overlap": "requests would wait for others of the same place",
	"opendir":           "files of a directory",
}

// noEffect are values that switch a refused key off.
var noEffect = map[string]bool{"0": true, "none": true, "0%": true}
