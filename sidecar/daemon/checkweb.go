package daemon

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/jobward/jobward/internal/serving"
	"github.com/jobward/jobward/internal/settings"
	"github.com/jobward/jobward/sidecar/gate"
	"github.com/jobward/jobward/sidecar/route"
)

// checkWebs judges the settings of the HTTP doors. take reads an address of this program's.
func (p *plan) checkWebs(f *settings.Findings, take func(setting, text string) serving.Address) {
	if p.HTTPAddr != "off" {
		a := take("http-addr", p.HTTPAddr)
		p.http = &a
	}
	if p.ProxyAddr != "off" {
		a := take("proxy-addr", p.ProxyAddr)
		p.proxy = &a
	}
	switch {
	case p.proxy == nil:
		for setting, value := range map[string]string{"proxy-to": p.ProxyTo, "proxy-ca-file": p.ProxyCAFile} {
			f.Need(value == "", setting, "is set, but nothing is passed on while proxy-addr is off: set proxy-addr, or take it away")
		}
	case p.ProxyTo == "":
		f.Need(false, "proxy-addr", "is set and needs proxy-to, the service that requests are passed on to")
	default:
		p.proxyTLS = checkBehind(f, *p.proxy, "proxy-to", p.ProxyTo, "proxy-ca-file", p.ProxyCAFile)
	}
	for _, text := range p.TrustedProxies {
		prefix, err := parsePrefix(text)
		if !f.Failed("trusted-proxies", err) {
			p.trusted = append(p.trusted, prefix)
		}
	}
	if p.OwnerURL != "" {
		var err error
		p.owners, err = gate.AskOwners(p.OwnerURL)
		f.Failed("owner-url", err)
	}
	p.withoutToken = map[string]gate.WithoutToken{"judge": gate.Judge, "pass": gate.Pass, "deny": gate.Deny}[p.WithoutToken]
}

// checkWebTLS keeps the rule of these doors: no TLS only where no other machine reaches them, and a socket that proxies ask on only where its
// mode is trusted.
func (p *plan) checkWebTLS(f *settings.Findings) {
	for setting, a := range map[string]*serving.Address{"http-addr": p.http, "proxy-addr": p.proxy, "registry-addr": p.registry} {
		f.Need(a == nil || a.Local() || p.doorsTLS(), setting, "%s can be reached from other machines, and without TLS only loopback addresses and Unix sockets are served: "+
			"set listen-cert-file, listen-key-file and listen-callers-file, or listen on 127.0.0.1", a)
	}
	f.Need(p.http == nil || p.http.Network != "unix" || p.development || p.TrustSocketMode, "http-addr",
		"a Unix socket has no address that trusted-proxies could name: set trust-socket-mode if whoever may open the file may ask, or listen on 127.0.0.1")
}

// readRoutes reads the operator's routes, or takes the built-in ones alone.
func (p *plan) readRoutes(f *settings.Findings) {
	if p.RoutesFile == "" {
		p.routes = route.Builtin()
		return
	}
	text, err := settings.ReadSmall(p.RoutesFile)
	if err == nil {
		if p.routes, err = route.Extend(text); err != nil {
			err = fmt.Errorf("%s: %w", p.RoutesFile, err)
		}
	}
	f.Failed("routes-file", err)
}

// parsePrefix reads an address or a range of addresses.
func parsePrefix(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return p, fmt.Errorf("%q is neither an address nor a range of addresses: write 10.0.0.1 or 10.0.0.0/24", text)
	case p.Addr().Is4In6():
		return p, errors.New("write an IPv4 range as 10.0.0.0/24")
	case p != p.Masked():
		return p, fmt.Errorf("%q names an address within a range: write %s, or the address alone", text, p.Masked())
	}
	return p, nil
}
