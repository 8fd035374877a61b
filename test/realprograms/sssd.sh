#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# SSSD's back end against a real LDAP server: each user and group that is looked up
# is one account request with its searches.
. "$(dirname "$0")/lib.sh"

need /usr/sbin/slapd slapd
need ldapadd ldap-utils
need /usr/sbin/sssd "sssd-common sssd-ldap"
users=${USERS:-9}
port=3890

# The server: one domain, users u1 to uN, a group of them all, and one that contains it.
mkdir "$work/ldap"
cat >"$work/slapd.conf" <<EOF
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
modulepath /usr/lib/ldap
moduleload back_mdb
database mdb
suffix "dc=test"
rootdn "cn=admin,dc=test"
rootpw secret
directory $work/ldap
EOF
background /usr/sbin/slapd -f "$work/slapd.conf" -h "ldap://127.0.0.1:$port" -d 0
until_true 10 ldapsearch -x -H "ldap://127.0.0.1:$port" -b "" -s base
group() { # NAME MEMBER…
	printf 'dn: cn=%s,ou=groups,dc=test\nobjectClass: groupOfNames\nobjectClass: extensibleObject\ncn: %s\ngidNumber: %d\n' "$1" "$1" $((20000 + ${#1} + $2))
	printf 'member: uid=u%d,ou=people,dc=test\n' "${@:2}"
}
{
	printf 'dn: dc=test\nobjectClass: dcObject\nobjectClass: organization\no: test\ndc: test\n\n'
	printf 'dn: ou=%s,dc=test\nobjectClass: organizationalUnit\n\n' people groups
	for i in $(seq "$users"); do
		printf 'dn: uid=u%d,ou=people,dc=test\nobjectClass: account\nobjectClass: posixAccount\ncn: u%d\nuid: u%d\nuidNumber: %d\ngidNumber: 20000\nhomeDirectory: /tmp\n\n' "$i" "$i" "$i" $((10000 + i))
	done
	group inner $(seq 1 3)
	printf '\n'
	group outer $(seq 4 "$users")
	printf 'member: cn=inner,ou=groups,dc=test\n'
} >"$work/data.ldif"
ldapadd -x -H "ldap://127.0.0.1:$port" -D cn=admin,dc=test -w secret -f "$work/data.ldif" >"$work/ldapadd.log"

# SSSD keeps its cache and sockets in fixed places: it must not be in use here.
if pgrep -x sssd >/dev/null; then echo "SSSD runs on this machine already" >&2; exit 3; fi
cat >"$work/sssd.conf" <<EOF
[sssd]
services = nss
domains = test
config_file_version = 2
[domain/test]
id_provider = ldap
auth_provider = none
access_provider = permit
ldap_uri = ldap://127.0.0.1:$port
ldap_search_base = dc=test
ldap_schema = rfc2307bis
ldap_group_object_class = groupOfNames
ldap_id_use_start_tls = false
cache_credentials = false
enumerate = false
EOF
chmod 600 "$work/sssd.conf"
rm -f /var/lib/sss/db/cache_test.ldb /var/lib/sss/db/timestamps_test.ldb /var/lib/sss/mc/*
background /usr/sbin/sssd -i -c "$work/sssd.conf" --logger=stderr
until_true 20 pgrep -x sssd_be
until_true 20 test -S /var/lib/sss/pipes/nss
backend=$(pgrep -x sssd_be)
sss() { LD_LIBRARY_PATH=${SSS_LIBRARY:-} getent -s sss "$@"; }
until_true 20 sss passwd u1 # it has connected

trace -p "$backend"
# All at once: requests overlap in the one thread of the back end.
for i in $(seq 2 "$users"); do
	sss passwd "u$i" >"$work/answer$i" &
	asking[i]=$!
done
wait "${asking[@]}"
cat "$work"/answer[0-9]* >"$work/answers"
sss passwd nobody-of-this-name >>"$work/answers" || true
sss group outer >>"$work/answers"
trace_end

head_line "SSSD, $(dpkg-query -W -f '${Version}' sssd-common)"
asked=$((users + 1))
same "answers" "$users" "$(wc -l <"$work/answers")"
same "requests to the back end" "$asked" "$(phases request)"
same "account requests" "$asked" "$(phases "account request")"
for i in $(seq 2 "$users"); do
	same "  for u$i" 1 "$(phases "account request" "\"filter\":\"u$i@test\"")"
done
same "searches for users by name" "$users" "$(phases "search user")"
same "groups resolved, the outer and the inner one" 2 "$(phases "nested group")"
sound
