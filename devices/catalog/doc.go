// Package catalog has the profiles of the simulated devices and opens them.
//
// A profile is a YAML file: the kind of device, what it advertises, the behaviour of
// its write cache in a power cut, the parameters of its model, and the source of each
// parameter. The built-in profiles are embedded. A path opens a file of the user, which
// may inherit from another profile by "extends". It is the only package that imports
// the models.
//
// published.yaml has published measurements of these devices, and formulas that the
// models must follow. RowKind computes from both whether a row is fitted, derived or
// predicted.
package catalog
