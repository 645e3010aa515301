package identity

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"strings"
)

// KeyPrefix begins every bearer key. The rest has the shape of a job token (version 1 of package token), so that the same scanner and the same
// masker know both: 27 letters and digits, then the CRC-32 of all before it in six base62 digits. The two packages do not
// import each other; their tests share an example.
const KeyPrefix = "jobk-"

const (
	keyHead  = KeyPrefix + "1"
	keyBody  = 27 // of the 32 letters of base32: 135 random bits
	keySum   = 6
	keyLen   = len(keyHead) + keyBody + keySum
	alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// NewKey returns a new bearer key and the hash of it that goes into the callers file. The key is shown to whoever asked for it
// once, and kept nowhere.
func NewKey() (key, hash string) {
	key = keyHead + (rand.Text() + rand.Text())[:keyBody]
	sum := keyChecksum(key)
	key += string(sum[:])
	hash, err := HashKey(key)
	if err != nil {
		panic("identity: a new key does not have the shape of a key")
	}
	return key, hash
}

// HashKey returns the SHA-256 of key in hexadecimal digits, as the callers file has it. The error says that key is not one made
// by [NewKey], and does not contain it: a hash without salt or stretching is good for random keys only, not for passwords.
func HashKey(key string) (string, error) {
	digest, ok := keyDigest(key)
	if !ok {
		return "", errors.New("this is not a key made by this program, or a character of it was changed or lost; make a new one")
	}
	return hex.EncodeToString(digest[:]), nil
}

// keyDigest checks the shape first, so that a flood of invented keys costs neither a hash nor a look-up.
func keyDigest(key string) (digest [sha256.Size]byte, ok bool) {
	if len(key) != keyLen || !strings.HasPrefix(key, keyHead) {
		return digest, false
	}
	body, sum := key[:keyLen-keySum], key[keyLen-keySum:]
	if want := keyChecksum(body); !allAlphanumeric(body[len(keyHead):]) || string(want[:]) != sum {
		return digest, false
	}
	return sha256.Sum256([]byte(key)), true
}

// keyChecksum goes byte by byte because the library's own loops would move the key to the heap at every call.
func keyChecksum(body string) (sum [keySum]byte) {
	n := ^uint32(0)
	for _, c := range []byte(body) {
		n = crc32.IEEETable[byte(n)^c] ^ n>>8
	}
	n = ^n
	for i := keySum - 1; i >= 0; i-- {
		sum[i] = alphabet[n%uint32(len(alphabet))]
		n /= uint32(len(alphabet))
	}
	return sum
}

// keyInClear returns the number of the first line of data that has something like a key in it, or 0. It does not ask for the
// checksum: a key with a typing error is a secret too.
func keyInClear(data []byte) (line int) {
	rest := data
	for {
		before, after, found := bytes.Cut(rest, []byte(KeyPrefix))
		if !found {
			return 0
		}
		if len(after) >= keyBody && allAlphanumeric(string(after[:keyBody])) {
			return 1 + bytes.Count(data[:len(data)-len(rest)+len(before)], []byte("\n"))
		}
		rest = after
	}
}

func allAlphanumeric(s string) bool {
	for _, c := range []byte(s) {
		if c-'0' >= 10 && (c|0x20)-'a' >= 26 {
			return false
		}
	}
	return true
}
