// Package catalog has the profiles of the simulated devices and opens them.
//
// A profile is a YAML file: what the device is, what it advertises, what its
// write cache does when the power goes, the parameters of its model, and for
// each parameter where the figure comes from. Those of this package are
// embedded; a path opens a file of the user's own, which may inherit from
// another by "extends". It is the only package that imports the models.
//
// published.yaml has what others have measured on these devices, or formulas of
// our own that the models must follow. Whether such a figure is fitted, derived
// or predicted is computed from what it and the profile say: see RowKind.
package catalog
