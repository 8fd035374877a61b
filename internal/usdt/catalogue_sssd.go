// SPDX-License-Identifier: Apache-2.0

package usdt

// SSSD's back end serves its requests in one thread, from an event loop, and starts
// the next one before the last is done. So what is sent and received is matched by the
// address of a string that belongs to the request, which is the same at both ends: its
// name, its filter, its DN. What has no argument is off where several of it can be
// under way. The _pre and _post probes, _begin and _end, and transactions bracket
// functions.
//
// sdap_parse_entry fires for each attribute and sdap_parse_entry_done once: no pair.
var sssd = program{
	name:      "SSSD",
	providers: []string{"sssd"},
	unlisted:  "not in the catalogue of its pairs",
	pairs: []entry{
		{spec: "sssd:dp_req_send/dp_req_done;name=request;attr.domain=arg0:str;attr.request=arg1:str;attr.target=arg2:uint;attr.method=arg3:uint;exit.attr.status=arg3;exit.attr.error=arg4:str;key=arg1/arg0",
			on: on, why: "one phase for each request to a back end"},
		{spec: "sssd:sdap_acct_req_send/sdap_acct_req_recv;name=account request;attr.entry_type=arg0:uint;attr.filter_type=arg1:uint;attr.filter=arg2:str;attr.extra=arg3:str;key=arg2",
			on: on, why: "one phase for each user, group or other object that is looked up"},
		{spec: "sssd:sdap_get_generic_ext_send/sdap_get_generic_ext_recv;name=ldap search;attr.base=arg0:str;attr.scope=arg1;attr.filter=arg2:str;key=arg2",
			on: on, why: "one phase for each LDAP search"},
		{spec: "sssd:sdap_search_user_send/sdap_search_user_recv;name=search user;attr.filter=arg0:str;key=arg0",
			on: on, why: "a part of an account request"},
		{spec: "sssd:sdap_search_user_save_begin/sdap_search_user_save_end;name=save user;attr.filter=arg0:str",
			on: on, why: "a part of an account request"},
		{spec: "sssd:sdap_deref_search_send/sdap_deref_search_recv;name=deref search;attr.base=arg0:str;attr.attribute=arg1:str;key=arg0",
			on: on, why: "a part of an account request"},
		{spec: "sssd:sdap_nested_group_process_send/sdap_nested_group_process_recv;name=nested group;attr.group=arg0:str;key=arg0",
			on: on, why: "each group that is resolved with its members"},
		{spec: "sssd:sysdb_transaction_start/sysdb_transaction_commit_after,sysdb_transaction_cancel;name=transaction;attr.nesting=arg0",
			on: on, why: "writes to the cache"},
		{spec: "sssd:sdap_nested_group_populate_pre/sdap_nested_group_populate_post;name=populate nested group",
			on: on, why: nestedPart},
		{spec: "sssd:sdap_nested_group_populate_search_users_pre/sdap_nested_group_populate_search_users_post;name=search users to populate",
			on: on, why: nestedPart},
		{spec: "sssd:sdap_nested_group_save_pre/sdap_nested_group_save_post;name=save nested group",
			on: on, why: nestedPart},
		{spec: "sssd:sdap_nested_group_check_cache_pre/sdap_nested_group_check_cache_post;name=check cache",
			on: on, why: nestedPart},
		{spec: "sssd:sdap_nested_group_deref_process_pre/sdap_nested_group_deref_process_post;name=process deref",
			on: on, why: nestedPart},
		{spec: "sssd:sdap_nested_group_process_split_pre/sdap_nested_group_process_split_post;name=split members",
			on: on, why: nestedPart},
		{spec: "sssd:sdap_nested_group_sysdb_search_users_pre/sdap_nested_group_sysdb_search_users_post;name=search cached users",
			on: on, why: nestedPart},
		{spec: "sssd:sdap_nested_group_sysdb_search_groups_pre/sdap_nested_group_sysdb_search_groups_post;name=search cached groups",
			on: on, why: nestedPart},
		{spec: "sssd:sdap_nested_group_send/sdap_nested_group_recv;name=nested groups;lane=nested groups",
			on: off, why: noArguments},
		{spec: "sssd:sdap_nested_group_lookup_user_send/sdap_nested_group_lookup_user_recv;name=look up user;lane=look up user",
			on: off, why: noArguments},
		{spec: "sssd:sdap_nested_group_lookup_group_send/sdap_nested_group_lookup_group_recv;name=look up group;lane=look up group",
			on: off, why: noArguments},
		{spec: "sssd:sdap_nested_group_lookup_unknown_send/sdap_nested_group_lookup_unknown_recv;name=look up unknown;lane=look up unknown",
			on: off, why: noArguments},
		{spec: "sssd:sdap_nested_group_deref_send/sdap_nested_group_deref_recv;name=deref nested group;lane=deref nested group",
			on: off, why: noArguments},
	},
}

const (
	nestedPart  = "a part of resolving nested groups"
	noArguments = "several may be under way at once, and they have no argument that tells them apart"
)
