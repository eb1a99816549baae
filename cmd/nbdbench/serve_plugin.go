package main

import (
	"github.com/spf13/cobra"

	"nbdbench/devices/fua"
	fileplugin "nbdbench/devices/plugin/file"
	"nbdbench/devices/plugin/lossy"
	"nbdbench/devices/plugin/memory"
	"nbdbench/devices/plugin/sh"
	"nbdbench/internal/serve"
	"nbdbench/internal/stack"
)

// The plugins of this program.
func init() {
	fileplugin.Register()
	lossy.Register()
	memory.Register()
}

// notForPlugins are the flags of serve that a plugin does not go with.
var notForPlugins = []string{"image", "image-sync", "size", "fault", "log", "log-writes"}

// pluginFlags reads the flags of plugins, and refuses those that do not go with one.
func pluginFlags(c *cobra.Command, config *serve.Config, mode string) error {
	if c.Flags().Changed("fuamode") {
		m, err := fua.ParseMode(mode)
		switch {
		case err != nil:
			return usage("--fuamode: expected none, emulate, native, force, pass or discard, got %q", mode)
		case config.Strategy != "pass":
			return usage("--fuamode: expected --strategy pass, got %s: both say what is done with FUA", config.Strategy)
		}
		config.FUAMode = m
	}
	for _, device := range config.DeviceNames() {
		if stack.IsStorage(device) {
			if err := storageFlags(c, config, device); err != nil {
				return err
			}
			continue
		}
		if config.Direct {
			return usage("--direct: expected a block device, a file or a directory, got %s", device)
		}
		if !stack.IsPlugin(device) {
			continue
		}
		for _, flag := range notForPlugins {
			if c.Flags().Changed(flag) {
				return usage("--%s: expected only simulated devices, got the plugin %s", flag, device)
			}
		}
		if config.PowerCut {
			return usage("--stop: expected flush with the plugin %s, got %s", device, stopPowerCut)
		}
		if _, err := stack.CheckPlugin(device); err != nil {
			return usage("%w", err)
		}
	}
	return nil
}

// notForStorage are the flags of serve that storage of the host does not go with.
var notForStorage = []string{"image", "image-sync", "fault", "log", "log-writes"}

// storageFlags refuses the flags that do not go with storage of the host.
func storageFlags(c *cobra.Command, config *serve.Config, device string) error {
	for _, flag := range notForStorage {
		if c.Flags().Changed(flag) {
			return usage("--%s: expected simulated devices alone, got %s", flag, device)
		}
	}
	if config.PowerCut {
		return usage("--stop: expected flush with %s, got %s", device, stopPowerCut)
	}
	return nil
}

// serveArgs takes a device, and words after it if that is a script.
func serveArgs(c *cobra.Command, args []string) error {
	switch {
	case len(args) < 2:
		return cobra.ExactArgs(1)(c, args)
	case !sh.IsDevice(args[0]):
		return usage("%s: expected no more words after a device that is no script, got %q", args[0], args[1])
	}
	return nil
}
