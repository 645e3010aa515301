package proxy

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

type connKey struct{}

// ConnContext is for http.Server.ConnContext: with it a cut resets the connection. Without it what the kernel holds is still sent, and a client
// of HTTP/1.0 may take a part for the whole.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// breakOff ends the exchange of r with its client at once, from any goroutine, while its handler runs.
func breakOff(w http.ResponseWriter, r *http.Request) {
	if c, ok := r.Context().Value(connKey{}).(net.Conn); ok && r.ProtoMajor == 1 {
		if t, ok := c.(*tls.Conn); ok {
			c = t.NetConn() // its own Close would wait to say goodbye
		}
		if t, ok := c.(*net.TCPConn); ok {
			t.SetLinger(0) // a reset, which also throws away what was not sent yet
		}
		c.Close()
		return
	}
	// HTTP/2 has other streams on the connection; this ends the waiting of one.
	http.NewResponseController(w).SetWriteDeadline(past)
	wake(w)
}

// wake ends a Read of the client's body that waits, and leaves the way of the answer open.
func wake(w http.ResponseWriter) error { return http.NewResponseController(w).SetReadDeadline(past) }

// leftTime is what a client has to send what is left of a body that nobody wants any more, up to 256 KiB, before its connection is closed.
const leftTime = 2 * time.Second

// Hurry is for the end of a handler, deferred: it bounds by 2 s how long the server reads on after it. The server would wait for ever for a client that
// announced a body and sends none, with an answer that it has not sent yet. A [Door] and an [Upstream] do it themselves.
func Hurry(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 {
		http.NewResponseController(w).SetReadDeadline(time.Now().Add(leftTime))
	}
}

var past = time.Unix(1, 0)
