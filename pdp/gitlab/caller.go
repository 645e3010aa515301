package gitlab

import (
	"cmp"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
)

// caller tells who calls, and the user that they act for: never the caller itself. With
// several PDPs it catches up once it is known who calls, so that what was written through
// another one is there to be read.
func (c *call) caller() (engine.Actor, error) {
	key, err := c.key()
	if err != nil {
		return engine.Actor{}, err
	}
	sudo, err := one(c.r.Header, "Sudo")
	if err != nil {
		return engine.Actor{}, err
	}
	if c.everybody != nil {
		return c.developer(cmp.Or(sudo, key))
	}
	var header []string
	if key != "" {
		header = []string{"Bearer " + key}
	}
	p, err := c.opt.Callers.Authenticate(c.r.TLS, header)
	if err != nil {
		return engine.Actor{}, unauthorized("%v; PRIVATE-TOKEN: KEY does as well", err)
	}
	if !p.Roles.Meets(identity.Roles(identity.Maintainer, identity.Admin)) {
		return engine.Actor{}, forbidden("%s has the roles: %v; the role maintainer is needed here", p.Name, p.Roles)
	}
	if err := c.engine.CatchUp(c.r.Context()); err != nil {
		return engine.Actor{}, err
	}
	switch {
	case p.User != 0 && sudo != "":
		return engine.Actor{}, forbidden("%s acts for user %d and nobody else: leave the header Sudo out", p.Name, p.User)
	case p.User == 0 && sudo == "":
		return engine.Actor{}, forbidden("%s acts for no user: give its row in the callers file a user, or name the user in the header Sudo", p.Name)
	case p.User != 0:
		return c.actor(p, authz.UserID(p.User))
	}
	user, err := c.user(sudo)
	if err != nil {
		return engine.Actor{}, err
	}
	return c.actor(p, user)
}

// developer is the caller in development mode, where a name is enough. That a header has
// to be sent all the same keeps the pages in somebody's browser from calling.
func (c *call) developer(name string) (engine.Actor, error) {
	if !loopbackHost(c.r) {
		return engine.Actor{}, forbidden("development mode answers requests for localhost and loopback addresses only")
	}
	if name == "" {
		return engine.Actor{}, unauthorized("development mode asks for no key, but for whom this is done: name a user, by name or id, in the header Sudo or PRIVATE-TOKEN")
	}
	if err := c.engine.CatchUp(c.r.Context()); err != nil {
		return engine.Actor{}, err
	}
	user, err := c.user(name)
	if err != nil {
		return engine.Actor{}, err
	}
	return c.actor(*c.everybody, user)
}

// loopbackHost is false for a request that a page of another site made with a name that
// leads to this machine.
func loopbackHost(r *http.Request) bool {
	if at, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && at.Network() == "unix" {
		return true
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// actor acts for an active user, with that user's rights alone.
func (c *call) actor(p identity.Principal, id authz.UserID) (engine.Actor, error) {
	u, err := c.engine.GetUser(c.r.Context(), id)
	if authz.KindOf(err) == authz.KindNotFound || err == nil && u.State != authz.UserStateActive {
		return engine.Actor{}, forbidden("user %d does not exist or is not active", id)
	}
	return engine.Actor{Name: p.Name, User: id}, err
}

// user finds the user that a header names, by id or by name.
func (c *call) user(text string) (authz.UserID, error) {
	var u engine.UserInfo
	var err error
	if n, ok := readNumber(text); ok {
		u, err = c.engine.GetUser(c.r.Context(), authz.UserID(n))
	} else {
		u, err = c.engine.GetUserNamed(c.r.Context(), text)
	}
	if authz.KindOf(err) == authz.KindNotFound {
		return 0, said(http.StatusNotFound, "User Not Found", "no user has the id or the name that the request gives")
	}
	return u.ID, err
}

// key finds the key of the request, or in development mode a user. What it says of a bad one holds
// nothing of it.
func (c *call) key() (string, error) {
	private, err := one(c.r.Header, "Private-Token")
	if err != nil {
		return "", err
	}
	bearer, err := bearerOf(c.r.Header)
	if err != nil {
		return "", err
	}
	if private != "" && bearer != "" && private != bearer {
		return "", unauthorized("PRIVATE-TOKEN and Authorization hold two different things: send one of them")
	}
	query := c.r.URL.Query()
	for _, name := range []string{"private_token", "access_token"} {
		if query.Has(name) {
			return "", unauthorized("keys are taken from the headers PRIVATE-TOKEN and Authorization, not from %s in an address, which ends up in logs", name)
		}
	}
	key := cmp.Or(private, bearer)
	if c.r.Header.Get("Job-Token") != "" || query.Has("job_token") || c.isJobToken(key) {
		return "", unauthorized("a job token opens nothing here: a maintainer's key is needed")
	}
	return key, nil
}

// isJobToken looks at the shape, so that a dead one and another installation's is known as well.
func (c *call) isJobToken(text string) bool {
	if _, ok := c.opt.Tokens.DigestOfString(text); ok {
		return true
	}
	for _, prefix := range c.opt.Tokens.Prefixes() {
		if prefix != identity.KeyPrefix && strings.HasPrefix(text, prefix) {
			return true
		}
	}
	return false
}

// bearerOf gives the text of an Authorization header.
func bearerOf(h http.Header) (string, error) {
	text, err := one(h, "Authorization")
	if err != nil || text == "" {
		return "", err
	}
	kind, key, _ := strings.Cut(text, " ")
	if key = strings.TrimSpace(key); !strings.EqualFold(kind, "Bearer") || key == "" {
		return "", unauthorized("the header Authorization is not of the form \"Bearer KEY\"")
	}
	return key, nil
}

// one gives the only value of a header; blank counts as absent. Several are refused: of two
// programs in a row each could believe another one.
func one(h http.Header, name string) (string, error) {
	if values := h.Values(name); len(values) > 1 {
		return "", unauthorized("the header %s is there %d times", strings.ToUpper(name), len(values))
	}
	return strings.TrimSpace(h.Get(name)), nil
}
