package cli

import (
	"strings"
	"testing"
)

func TestAllowlist(t *testing.T) {
	walk(t, newPDP(t), []step{
		{words("allowlist get acme/web/shop"), "", ExitOK, []string{"inbound list on", "push by own jobs on", "inbound projects 0 of 200"}},
		{words("allowlist get acme/web/none"), "", ExitFailed, []string{"acme/web/none", "NOT_FOUND"}},
		{words("allowlist get acme/web/shop --as victor"), "", ExitFailed, []string{"NOT_MAINTAINER"}},
		{words("allowlist get acme/web/shop --as nobody"), "", ExitFailed, []string{"no user is named nobody"}},

		{words("allowlist set acme/web/shop"), "", ExitFailed, []string{"nothing to set"}},
		{words("allowlist set acme/web/shop --no-inbound"), "", ExitFailed, []string{"INBOUND_ENFORCED"}},
		{words("allowlist set acme/web/shop --no-push-self --validate-only"), "", ExitOK, []string{"push by own jobs off", "nothing was changed"}},
		{words("allowlist set acme/web/shop --no-push-self --push-cross --outbound --as alice"), "", ExitOK,
			[]string{"outbound list on", "push by own jobs off", "push by other projects' jobs on", "in force everywhere"}},
		{words("allowlist set 11 --push-self --expected-revision 1"), "", ExitFailed, []string{"REVISION_MISMATCH"}},
		{words("settings set --no-enforce-inbound"), "", ExitOK, nil},
		{words("allowlist set 11 --no-inbound"), "", ExitOK, []string{"inbound list off"}},
		{words("settings set --enforce-inbound"), "", ExitOK, nil},
		{words("allowlist get 11"), "", ExitOK, []string{"inbound list off, but enforced", "push by own jobs off"}},

		{words("allowlist list acme/platform/deploy"), "", ExitOK, []string{"project 15 acme/platform/deploy default implied", "project 11 acme/web/shop read_packages,read_releases"}},
		{words("allowlist add acme/platform/deploy --group acme/web"), "", ExitFailed, []string{"--default", "--policies"}},
		{words("allowlist add acme/platform/deploy --default"), "", ExitFailed, []string{"--project"}},
		{words("allowlist add 15 --group 2 --project 11 --default"), "", ExitFailed, []string{"--project", "--group"}},
		{words("allowlist add 15 --group 2 --default --policies read_packages"), "", ExitFailed, []string{"--default", "--policies"}},
		{words("allowlist add 15 --group 2 --policies fly"), "", ExitFailed, []string{"POLICY_UNKNOWN"}},
		{words("allowlist add 15 --group acme/web --policies read_packages,read_jobs --as erin --request-id a1"), "", ExitOK,
			[]string{"group 2 acme/web read_jobs,read_packages", "in force everywhere"}},
		{words("allowlist add 15 --group acme/web --default"), "", ExitFailed, []string{"EXISTS"}},
		{words("allowlist update 15 --group acme/web --default"), "", ExitOK, []string{"group 2 acme/web default"}},
		{words("allowlist update 15 --group acme/web"), "", ExitFailed, []string{"--nothing"}},
		{words("allowlist update 15 --group acme/web --nothing"), "", ExitOK, []string{"group 2 acme/web nothing"}},
		{words("allowlist update 15 --group acme --default"), "", ExitFailed, []string{"NOT_FOUND"}},
		{words("allowlist list 15 --limit 2"), "", ExitOK, []string{"there is more: --page-token"}},
		{words("allowlist memberships acme/web/shop"), "", ExitOK, []string{"14 acme/platform/api group 2 default", "15 acme/platform/deploy project 11 read_packages,read_releases"}},
		{words("allowlist remove 15 --group acme/web --expected-revision 1"), "", ExitFailed, []string{"REVISION_MISMATCH"}},
		{words("allowlist remove 15 --group acme/web --validate-only"), "", ExitOK, []string{"nothing was changed"}},
		{words("allowlist remove 15 --group acme/web"), "", ExitOK, []string{"done at revision"}},
		{words("allowlist remove 15 --group acme/web"), "", ExitFailed, []string{"NOT_FOUND"}},

		{words("allowlist add 11 --project acme/web/site --direction outbound --default"), "", ExitFailed, []string{"outbound"}},
		{words("allowlist add 11 --group acme/web --direction outbound"), "", ExitFailed, []string{"outbound"}},
		{words("allowlist add 11 --project acme/web/site --direction outbound"), "", ExitOK, []string{"project 13 acme/web/site - -"}},
		{words("allowlist get 11"), "", ExitOK, []string{"inbound projects 0 of 200", "outbound projects 1 of 200"}},
		{words("allowlist list 11 --direction outbound"), "", ExitOK, []string{"project 13 acme/web/site"}},
		{words("allowlist memberships 13 --direction outbound"), "", ExitOK, []string{"11 acme/web/shop project 13"}},
		{words("allowlist remove 11 --project 13 --direction outbound"), "", ExitOK, []string{"done at revision"}},
		{words("allowlist list 11 --direction sideways"), "", ExitFailed, []string{"--direction"}},
		{words("allowlist memberships 13 --as mallory"), "", ExitFailed, nil},
	})
}

// The JSON form has every field, so that scripts need not guess.
func TestAllowlistJSON(t *testing.T) {
	code, out, errout := ctl(t, newPDP(t), "allowlist", "list", "acme/platform/deploy", "-o", "json")
	for _, want := range []string{`"default_permissions": false`, `"implied": true`, `"allowlist_revision":`, `"next_page_token": ""`} {
		if code != ExitOK || !strings.Contains(out, want) {
			t.Errorf("code %d, %s is not in %s%s", code, want, out, errout)
		}
	}
}
