// SPDX-License-Identifier: Apache-2.0

package usdt

// Calls come in on a thread that reads from the sockets and are answered on any; the
// client object and the serial number of the call tell them apart. Events go out
// without having come in.
//
// rpc_keepalive_start and _stop are the life of a timer, rpc_socket_send_fd and
// rpc_socket_recv_fd have nothing to do with each other.
var libvirt = program{
	name:      "libvirt",
	providers: []string{"libvirt"},
	unlisted:  "not in the catalogue of its pairs",
	pairs: []entry{
		{spec: "libvirt:rpc_server_client_msg_rx/rpc_server_client_msg_tx_queue;name=rpc;attr.client=arg0:hex;attr.program=arg2:hex;attr.procedure=arg4;attr.type=arg5;attr.serial=arg7;exit.attr.status=arg6;key=arg0+arg7",
			on: on, why: "one phase for each call that a daemon serves"},
		{spec: "libvirt:rpc_client_msg_tx_queue/rpc_client_msg_rx;name=rpc call;attr.client=arg0:hex;attr.program=arg2:hex;attr.procedure=arg4;attr.type=arg5;attr.serial=arg7;exit.attr.status=arg6;key=arg0+arg7",
			on: on, why: "one phase for each call that a client makes"},
		{spec: "libvirt:qemu_monitor_send_msg/qemu_monitor_recv_reply;name=qemu command;attr.monitor=arg0:hex;attr.message=arg1:str;exit.attr.reply=arg1:str;key=arg0",
			on: on, why: "one phase for each command to a QEMU"},
	},
}
