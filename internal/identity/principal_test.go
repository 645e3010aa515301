package identity

import (
	"errors"
	"net"
	"strings"
	"testing"
)

func TestDevelopment(t *testing.T) {
	tcp := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 8443} }
	unix := &net.UnixAddr{Name: "/run/jobward.sock", Net: "unix"}
	for name, addrs := range map[string][]net.Addr{
		"none": nil, "IPv4": {tcp("127.0.0.1")}, "IPv4, another": {tcp("127.9.9.9")}, "IPv6": {tcp("::1")}, "mapped": {tcp("::ffff:127.0.0.1")},
		"unix": {unix}, "several": {unix, tcp("127.0.0.1"), tcp("::1")},
	} {
		d, err := NewDevelopment(addrs...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		p, err := d.Authenticate(nil, []string{"Bearer nonsense"})
		if err != nil || p.Name != "local:development" || p.Roles != AllRoles() {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	for name, addrs := range map[string][]net.Addr{
		"all IPv4": {tcp("0.0.0.0")}, "all IPv6": {tcp("::")}, "no IP": {&net.TCPAddr{Port: 1}}, "private": {tcp("10.0.0.1")},
		"link local": {tcp("fe80::1")}, "second": {unix, tcp("192.0.2.1")}, "other kind": {&net.UDPAddr{IP: net.ParseIP("127.0.0.1")}}, "nil": {nil},
	} {
		d, err := NewDevelopment(addrs...)
		if err == nil || !strings.Contains(err.Error(), "listen on 127.0.0.1") {
			t.Errorf("%s: %v", name, err)
		}
		if p, err := d.Authenticate(nil, nil); !errors.Is(err, ErrNoCredentials) || p != (Principal{}) {
			t.Errorf("%s: refused, yet somebody is %+v, %v", name, p, err)
		}
	}
}
