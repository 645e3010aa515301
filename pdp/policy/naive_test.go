package policy_test

import (
	"slices"
	"strings"

	"github.com/jobward/jobward/pdp/scenario"
)

// The naive evaluator: SEMANTICS §§3 to 14 once more, written from the text and not
// from the walk, as plainly as possible. It reads the scenario itself, in names; it
// has its own table of permissions (naive_table_test.go), its own order of roles and
// its own idea of what is above what. It is slow and proud of it.

// naive is a world in maps from full paths and names.
type naive struct {
	instance scenario.Instance
	groups   map[string]scenario.Group
	projects map[string]scenario.Project
	users    map[string]scenario.User
	roles    map[string]string // "user@path" to role
}

func newNaive(w *scenario.World) *naive {
	n := &naive{
		instance: w.Instance, groups: map[string]scenario.Group{}, projects: map[string]scenario.Project{},
		users: map[string]scenario.User{}, roles: map[string]string{},
	}
	for _, g := range w.Groups {
		n.groups[g.Path] = g
	}
	for _, p := range w.Projects {
		n.projects[p.Path] = p
	}
	for _, u := range w.Users {
		n.users[u.Name] = u
	}
	for _, m := range w.Members {
		n.roles[m.User+"@"+m.Scope] = m.Role
	}
	return n
}

// question is one question in a naive world, with what every rule needs of it.
type question struct {
	*naive
	job  scenario.Job
	req  scenario.Request
	perm nPerm
	s, t scenario.Project // source and target
	user scenario.User
}

// answer gives the name of the reason for the first rule that does not let the
// question pass, or of what allowed it.
func (n *naive) answer(job scenario.Job, req scenario.Request) string {
	q := &question{naive: n, job: job, req: req}
	if job.Token == "none" {
		return q.anonymous()
	}
	for _, rule := range []func() string{
		q.token, q.time, q.status, q.erased, q.heartbeat, q.source, q.acting, q.permission, q.limitedPermission, q.ownJob,
		q.target, q.limitedTarget, q.ownProject, q.outbound, q.inbound, q.push, q.features, q.role, q.targetState, q.fineGrained,
	} {
		if why := rule(); why != "" {
			return why
		}
	}
	switch {
	case q.openToAll():
		return "allowed_open"
	case q.self():
		return "allowed_self"
	case q.exempt() && q.perm.action != "push":
		return "allowed_exempt"
	case q.listOff():
		return "allowed_list_off"
	}
	return "allowed_listed"
}

// anonymous is what a visitor without a token sees (§8.1, §8.3, §8.5, §8.7, §8.8): what a
// public project shows to everybody, and packages that are open to anybody.
func (q *question) anonymous() string {
	if why := q.permission(); why != "" {
		return why
	}
	if q.target() == "target_not_found" || q.perm.own || q.req.Permission == "read_own_job" || !q.perm.public {
		return "token_missing"
	}
	for _, f := range q.perm.features {
		if l := level(q.t, f); l != "enabled" && l != "public" {
			return "token_missing"
		}
	}
	switch {
	case q.anyonePulls():
		return "allowed_open"
	case or(q.t.Visibility, "private") != "public", q.perm.builds && !yes(q.t.PublicBuilds):
		return "token_missing"
	}
	return "allowed_open"
}

// Words that the sections share.

func or(s, absent string) string {
	if s == "" {
		return absent
	}
	return s
}

func yes(b *bool) bool { return b == nil || *b }

func parent(path string) string {
	i := strings.LastIndex(path, "/")
	if i < 0 {
		return ""
	}
	return path[:i]
}

// groupsAbove gives the paths of the groups above a path, nearest first. A personal
// namespace is no group (§7.5).
func (n *naive) groupsAbove(path string) []string {
	up := parent(path)
	if _, ok := n.groups[up]; !ok {
		return nil
	}
	return append([]string{up}, n.groupsAbove(up)...)
}

// inState tells whether the thing at a path, or a group above it, is in one of the states.
func (n *naive) inState(path string, states ...string) bool {
	own := n.groups[path].State
	if p, ok := n.projects[path]; ok {
		own = p.State
	}
	if slices.Contains(states, or(own, "active")) {
		return true
	}
	if _, ok := n.groups[parent(path)]; !ok {
		return false
	}
	return n.inState(parent(path), states...)
}

func rank(role string) int {
	switch role {
	case "guest":
		return 10
	case "planner":
		return 15
	case "reporter":
		return 20
	case "security_manager":
		return 25
	case "developer":
		return 30
	case "maintainer":
		return 40
	case "owner":
		return 50
	}
	return 0 // none, and minimal, which counts as none
}

// best gives the rank of the user's highest role on a path: direct or inherited (§8.4).
func (n *naive) best(user, path string) int {
	best := rank(n.roles[user+"@"+path])
	for _, g := range n.groupsAbove(path) {
		best = max(best, rank(n.roles[user+"@"+g]))
	}
	return best
}

func level(p scenario.Project, feature string) string { return or(p.Features[feature], "enabled") }

// self: source and target are the same (§7.1).
func (q *question) self() bool { return q.s.Path == q.t.Path }

// open is §8.1.
func (q *question) open() bool {
	return q.t.Visibility == "public" || q.t.Visibility == "internal" && !q.user.External
}

// exempt: allowlists do not bind on this target at all (§0.2).
func (q *question) exempt() bool { return q.open() && or(q.instance.PublicScope, "exempt") == "exempt" }

// listOff: the effective inbound switch is off (§7.4).
func (q *question) listOff() bool { return !q.instance.EnforceInbound && !yes(q.t.InboundEnabled) }

// nearest is the entry that counts (§9.2 step 6, §9.3).
func (q *question) nearest() (scenario.Entry, bool) {
	for _, e := range q.t.InboundAllow {
		if e.Path == q.s.Path {
			return e, true
		}
	}
	for _, g := range q.groupsAbove(q.s.Path) {
		for _, e := range q.t.InboundGroups {
			if e.Path == g {
				return e, true
			}
		}
	}
	return scenario.Entry{}, false
}

// outboundOK and inboundOK are §7.2 and §7.3.
func (q *question) outboundOK() bool {
	return !q.s.OutboundEnabled || or(q.t.Visibility, "private") != "private" || slices.Contains(q.s.Outbound, q.t.Path)
}

func (q *question) inboundOK() bool {
	_, listed := q.nearest()
	return q.listOff() || listed
}

// inScope is §7.1, with what exempt means.
func (q *question) inScope() bool {
	return q.self() || q.exempt() || q.outboundOK() && q.inboundOK()
}

// inPublicSet is §8.3 and §8.7.
func (q *question) inPublicSet() bool {
	return q.perm.public && (!q.perm.builds || yes(q.t.PublicBuilds))
}

// openToAll: nobody's role matters, because everybody may who may see the target, or,
// for packages, anybody whom the lists do not stop (§8.8).
func (q *question) openToAll() bool {
	for _, f := range q.perm.features {
		if level(q.t, f) == "private" {
			return false
		}
	}
	return q.open() && q.inPublicSet() || q.anyonePulls()
}

func (q *question) anyonePulls() bool {
	return q.req.Permission == "read_packages" && level(q.t, "packages") == "public" && yes(q.instance.AnyoneCanPull)
}

// The steps of §3.

func (q *question) token() string { // steps 1 and 2
	switch q.job.Token {
	case "malformed":
		return "token_malformed"
	case "unknown":
		return "token_unknown"
	}
	return ""
}

func (q *question) time() string { // step 3
	switch q.job.Token {
	case "replaced":
		return "token_replaced"
	case "expired":
		return "token_expired"
	}
	return ""
}

func (q *question) status() string { // step 4, §5.2
	if s := or(q.job.State, "running"); s != "running" && s != "canceling" {
		return "job_not_running"
	}
	return ""
}

func (q *question) erased() string { // step 5
	if q.job.Erased {
		return "job_erased"
	}
	return ""
}

func (q *question) heartbeat() string {
	if q.job.Heartbeat == "overdue" || q.job.Heartbeat == "lapsed" {
		return "heartbeat_lapsed"
	}
	return ""
}

func (q *question) source() string { // step 6, and P5
	s, ok := q.projects[q.job.Project]
	if !ok || s.Killed || q.inState(s.Path, "pending_delete", "deletion_in_progress") {
		return "source_gone"
	}
	q.s = s
	return ""
}

func (q *question) acting() string { // step 7, §6.2
	u, ok := q.users[or(q.job.User, "dev")]
	if !ok {
		return "user_missing"
	}
	q.user = u
	switch u.State {
	case "blocked":
		return "user_blocked"
	case "deactivated":
		return "user_deactivated"
	case "banned":
		return "user_banned"
	case "blocked_pending_approval":
		return "user_pending_approval"
	}
	if u.Killed {
		return "user_blocked"
	}
	return ""
}

func (q *question) permission() string { // §4.6, §4.7
	p, ok := nTable()[string(q.req.Permission)]
	if !ok {
		return "permission_unknown"
	}
	q.perm = p
	asked := q.req.Surface
	if asked == "" || asked == "default" {
		asked = p.surface
	}
	if p.surface == "unlisted" || p.surface == "graphql" || asked == "unlisted" || asked == "graphql" {
		return "surface_closed"
	}
	// A bare question is about no route, and read_project belongs to none.
	if asked != p.surface && asked != "policy" && p.surface != "policy" {
		return "surface_closed"
	}
	// The login over Git needs CI in the job's project (§10.1); no repository, no CI (§8.6).
	if asked == "git" && (level(q.s, "builds") == "disabled" || level(q.s, "repository") == "disabled") {
		return "surface_closed"
	}
	q.req.Surface = asked
	return ""
}

func (q *question) limitedPermission() string {
	if l := q.job.Limits; l != nil && l.Permissions != nil && !slices.Contains(l.Permissions, q.req.Permission) {
		return "limited_permission"
	}
	return ""
}

func (q *question) ownJob() string {
	if q.req.Permission == "read_own_job" {
		return "allowed_own_job"
	}
	return ""
}

func (q *question) target() string { // step 8, §14
	t, ok := q.projects[q.req.TargetProject]
	if !ok || t.Hidden || q.inState(t.Path, "pending_delete") {
		return "target_not_found"
	}
	q.t = t
	return ""
}

func (q *question) limitedTarget() string {
	l := q.job.Limits
	if l == nil || l.Targets == nil {
		return ""
	}
	for _, path := range append([]string{q.t.Path}, q.groupsAbove(q.t.Path)...) {
		if slices.Contains(l.Targets, path) {
			return ""
		}
	}
	return "limited_target"
}

func (q *question) ownProject() string { // §11.1, §11.3
	if q.perm.own && !q.self() {
		return "own_project_only"
	}
	return ""
}

func (q *question) outbound() string { // §7.2, §8.2
	if !q.self() && !q.open() && !q.outboundOK() {
		return "outbound_not_listed"
	}
	return ""
}

func (q *question) inbound() string { // §7.3, §8.2
	if !q.self() && !q.open() && !q.inboundOK() {
		return "inbound_not_listed"
	}
	return ""
}

func (q *question) push() string { // §10.4
	if q.perm.action != "push" {
		return ""
	}
	if q.self() {
		if !q.t.PushSelf {
			return "push_disabled"
		}
		return ""
	}
	if !q.t.PushCross || q.listOff() {
		return "push_disabled"
	}
	e, listed := q.nearest()
	if !listed {
		return "inbound_not_listed"
	}
	return q.lacks(e)
}

func (q *question) features() string { // §8.5, §8.6
	for _, f := range q.perm.features {
		if level(q.t, f) == "disabled" {
			return "feature_disabled"
		}
	}
	for _, f := range q.perm.features {
		if level(q.t, f) == "private" && !q.inScope() {
			return "feature_members_only"
		}
	}
	return ""
}

func (q *question) role() string { // §8.1 to §8.4, §8.7, §8.8
	if !q.inScope() && !q.inPublicSet() {
		if q.perm.public {
			return "pipelines_not_public"
		}
		return "public_set_only"
	}
	need := rank(q.perm.role)
	if q.perm.builds && !yes(q.t.PublicBuilds) {
		need = rank("reporter")
	}
	if q.open() && q.inPublicSet() || q.anyonePulls() {
		need = 0
	}
	for _, f := range q.perm.features {
		if level(q.t, f) == "private" {
			need = max(need, q.memberLevel(f))
		}
	}
	have := q.best(q.user.Name, q.t.Path)
	switch {
	case have >= need:
		return ""
	case have == 0:
		return "not_member"
	case q.perm.builds && !yes(q.t.PublicBuilds) && have >= rank(q.perm.role):
		return "pipelines_not_public"
	}
	return "role_too_low"
}

// memberLevel is the role that a members-only feature asks for (§8.5).
func (q *question) memberLevel(feature string) int {
	switch feature {
	case "merge_requests", "container_registry", "packages", "environments":
		return rank("reporter")
	case "repository":
		if or(q.t.Visibility, "private") == "private" {
			return rank("reporter")
		}
	}
	return rank("guest")
}

func (q *question) targetState() string { // §14, §0.8
	if q.perm.action == "read" {
		return ""
	}
	if q.inState(q.t.Path, "archived", "deletion_scheduled") {
		return "target_archived"
	}
	if q.inState(q.t.Path, "deletion_in_progress") && q.perm.action != "destroy" {
		return "target_read_only"
	}
	if q.perm.action == "push" && q.t.ReadOnly {
		return "target_read_only"
	}
	return ""
}

func (q *question) fineGrained() string { // §9.2
	if q.req.Surface != "rest" || q.perm.skip { // step 1 and §9.4
		return ""
	}
	if q.exempt() { // §0.2: the lists do not bind, nor does what their entries lack
		return ""
	}
	if q.open() && len(q.perm.exempt) > 0 { // step 2
		all := true
		for _, f := range q.perm.exempt {
			if l := level(q.t, f); l != "enabled" && l != "public" {
				all = false
			}
		}
		if all {
			return ""
		}
	}
	if q.self() || q.listOff() { // steps 3 and 4
		return ""
	}
	e, listed := q.nearest()
	if !listed { // step 5
		return "inbound_not_listed"
	}
	return q.lacks(e)
}

// lacks is §9.2 steps 7 to 9.
func (q *question) lacks(e scenario.Entry) string {
	if e.Policies == nil {
		return ""
	}
	if len(q.perm.policies) == 0 {
		return "policy_undeclared"
	}
	for _, p := range q.perm.policies {
		admin := strings.Replace(p, "read_", "admin_", 1)
		if !slices.Contains(e.Policies, p) && !slices.Contains(e.Policies, admin) {
			return "policy_missing"
		}
	}
	return ""
}
