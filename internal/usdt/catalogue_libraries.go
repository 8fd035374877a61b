// SPDX-License-Identifier: Apache-2.0

package usdt

// pytorch also has malloc and free, which do not form a pair.
var pytorch = program{
	name:      "PyTorch",
	providers: []string{"pytorch"},
	unlisted:  "not in the catalogue of its pairs",
	pairs: []entry{
		{spec: "pytorch:operator_start/operator_end;name=arg0:str",
			on: off, why: "every operator, up to millions a second",
			requires: "use a PyTorch built with FBCODE_CAFFE2: released ones do not have these probes"},
	},
}

var seastar = program{
	name:      "Seastar",
	providers: []string{"seastar"},
	unlisted:  "not in the catalogue of its pairs",
	pairs: []entry{
		{spec: "seastar:reactor_run_tasks_single_start/reactor_run_tasks_single_end;name=task;reentrant=false",
			on: off, why: "every task, up to millions a second"},
	},
}

// libstdcxx has throw, catch and rethrow: nothing says which catch, if any,
// ends which throw.
var libstdcxx = program{
	name:      "libstdc++",
	providers: []string{"libstdcxx"},
	unlisted:  "its probes form no pairs",
}

// guestfs nests: a launch builds the appliance it then starts. One probe,
// launch_build_libvirt_qcow2_overlay_end, has no start.
var guestfs = program{
	name:      "libguestfs",
	providers: []string{"guestfs"},
	unlisted:  "not in the catalogue of its pairs",
	pairs: []entry{
		{spec: "guestfs:launch_start/launch_end;name=launch", on: on, why: "rare and long"},
		{spec: "guestfs:launch_build_appliance_start/launch_build_appliance_end;name=build appliance",
			on: on, why: "a part of each launch"},
		{spec: "guestfs:launch_libvirt_start/launch_libvirt_end;name=launch libvirt",
			on: on, why: "a part of each launch through libvirt"},
		{spec: "guestfs:launch_build_libvirt_appliance_start/launch_build_libvirt_appliance_end;name=build libvirt appliance",
			on: on, why: "a part of each launch through libvirt"},
	},
}

// glibc is in every program, where it was built with its probes.
var glibc = program{
	name:      "glibc",
	providers: []string{"libc", "libc_malloc_debug", "libm", "libpthread", "rtld"},
	unlisted:  "not in the catalogue of its pairs",
	pairs: []entry{
		{spec: "rtld:init_start/init_complete;name=link program;attr.namespace=arg0", on: off, why: linkerWork},
		{spec: "rtld:map_start/map_complete;name=map library;attr.namespace=arg0", on: off, why: linkerWork},
		{spec: "rtld:reloc_start/reloc_complete;name=relocate;attr.namespace=arg0", on: off, why: linkerWork},
		{spec: "rtld:unmap_start/unmap_complete;name=unmap library;attr.namespace=arg0", on: off, why: linkerWork},
		{spec: "libc:mutex_entry/mutex_acquired;name=wait for mutex;attr.mutex=arg0:hex", on: off, why: "very frequent"},
		{spec: "libc:pthread_join/pthread_join_ret;name=join thread;attr.thread=arg0:hex", on: off, why: "a thread that waits does no work"},
	},
}

const linkerWork = "what the dynamic linker does when programs start and load libraries"

var mir = program{
	name: "Mir",
	providers: []string{"mir_server_compositor", "mir_server_display", "mir_server_input", "mir_server_scene",
		"mir_server_shared_library_prober", "mir_server_wayland"},
	unlisted: "how long its parts run rather than work",
	pairs: []entry{
		{spec: "mir_server_compositor:began_frame/finished_frame;name=frame;attr.compositor=arg0:hex;key=arg0",
			on: off, why: "each frame of each screen"},
	},
}
