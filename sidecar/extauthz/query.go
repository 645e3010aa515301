package extauthz

import "strings"

// dropped calls take for the name, as it is spelt, of each parameter of the raw query that the one to be passed on has not. It reports
// false where Envoy, which removes parameters by their names between ampersands, cannot make the one of the other. With a name go all parameters of
// that name.
func dropped(raw, passed string, take func(name string)) bool {
	if raw == passed {
		return true
	}
	left, more := passed, passed != ""
	for all := true; all; {
		var piece, kept, after string
		var further bool
		piece, raw, all = strings.Cut(raw, "&")
		if more {
			kept, after, further = strings.Cut(left, "&")
		}
		if more && piece == kept {
			left, more = after, further
			continue
		}
		name, _, _ := strings.Cut(piece, "=")
		if name == "" && piece != "" {
			return false
		}
		if name != "" {
			take(name)
		}
	}
	return !more // what is left was a part of a piece
}
