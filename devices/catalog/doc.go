// Package catalog has the profiles of the simulated devices and opens them.
//
// A profile is a YAML file: what the device is, what it advertises, what its
// write cache does when the power goes, the parameters of its model, and for
// each parameter where the figure comes from. Those of this package are
// embedded; a path opens a file of the user's own, which may inherit from
// another by "extends". It is the only package that imports the models.
package catalog
