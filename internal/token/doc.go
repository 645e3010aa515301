// Package token is the shape of a job token, and the type that keeps one from being printed.
//
// # The text
//
//	jobt-1ABCDEFGHIJKLMNOPQRSTUVWXYZ046dUxH        (never issued; the tests hold it)
//	│    ││                          └ checksum: 6 base62 digits
//	│    │└ 27 base62 digits, each drawn uniformly: 160.7 random bits
//	│    └ version of this shape
//	└ prefix, configurable
//
// The base62 digits are 0-9, then A-Z, then a-z. The checksum is the CRC-32 (IEEE, as in zlib and gzip) of every byte before it,
// prefix and version included, written as a base62 number, most significant digit first, padded with 0. So a secret scanner or a log
// masker tells a token from other text by looking, offline, with one false alarm in four billion candidates; [Format.Pattern] is the
// regular expression for those that cannot compute a checksum. It also means that a mistyped or cut token is told from a dead one,
// and that a flood of invented tokens costs no look-up. The checksum is no protection against anybody who can compute it.
//
// Why base62 and these lengths: with the default prefix a token has 39 bytes, so that "gitlab-ci-token:" + token has 55 and its base64
// 76 characters, the width at which base64 tools break lines (SEMANTICS §18.7). No character needs quoting in a URL, a
// shell or a YAML value. The longest prefix still leaves the text within one block of SHA-256.
//
// # What is kept
//
// Stores keep the SHA-256 of the whole text, never the text (P7). No salt and no slow hash are needed: nobody guesses 160 bits.
// [Format.DigestOf] is the hot path: it refuses by length before it looks at anything else (SEMANTICS §4.8) and does not allocate.
// [Secret] holds the text where it must exist for a moment: between minting and the answer of Issue, and in clients.
package token
