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
