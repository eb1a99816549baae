// Package fiojob reads job files of fio and writes them as plans.
//
// A Reader splits a file into jobs as fio 3.33 does, includes and environment
// variables among it, and Map makes a plan of them. Every setting of the file is
// reported: exact where the plan has it, ignored where it concerns the host, the
// output or the processor and so changes no request, and refused where it changes
// the requests and the plan cannot have it. A key that is not known is refused,
// because it may change the requests. A file with a refused setting has no plan.
//
//	jobs, err := fiojob.Reader{Open: os.ReadFile, Environment: os.LookupEnv}.Read("job.fio")
//	m := fiojob.Map(jobs)
//	err = m.Refused() // the first setting that the plan cannot have
//
// What a value means was tried with fio 3.33. Where fio reads a value as
// something that nobody means, as 1.5k for 1 byte, the value is refused.
//
// Nothing of a job file is run: fio passes exec_prerun and expressions such as
// $ncpus*2 to a shell, and both are refused.
package fiojob
