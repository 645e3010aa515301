// Package mask takes secrets out of a stream of text, such as the log of a job, while it flows.
//
// [Compile] makes a [Set] of phrases; [Set.Writer] puts it before an io.Writer. Every occurrence becomes [MASKED].
//
// # What is found
//
//   - Each phrase as it is. A phrase of several lines is also found with CRLF between them, as a terminal shows it, and by each
//     line of at least 8 bytes.
//   - Each phrase as JSON, as percent-encoding (the sets of safe characters that are in use, both cases of the digits), and
//     within single quotes of a shell, where that differs.
//   - Each phrase of at least 5 bytes in base64, whatever stands before and after it: three alignments, both alphabets, also
//     when lines are broken (LF or CRLF, at least 16 characters apart; base64 breaks at 76, PEM at 64).
//   - Job tokens by their shape, known or not: a prefix, version 1, and at least 12 base62 digits. The checksum need not hold,
//     so that a token that was cut short is masked too. The prefix stays, to say what it was.
//   - GitLab's tokens by their prefixes (SEMANTICS §19.4), and the values of parameters that carry tokens (§19.5, and
//     job_token): the prefix or name stays, what follows is masked as far as it can belong to it.
//
// # What is promised
//
//   - The output depends on the bytes and not on how they were cut into writes; nothing is reordered; what is no secret passes unchanged.
//   - Occurrences that overlap become one mask; occurrences that only touch become one each.
//   - What is held back after a Write is the longest end of the input that may be the beginning of a secret, and nothing else, so a prompt shows
//     at once and no timer or flush is needed. It is at most [Set.HoldBack] bytes. Nothing releases it but more input or Close: whoever
//     flushes it after a pause leaks a secret that a slow program writes in two pieces.
//   - Close masks a held beginning of a secret when it has at least half of the secret's bytes, or 8 of them, and at least 4: a program that was
//     killed in the middle of a token must not leave most of it. A shorter one is released; it may as well be a word.
//
// # Where it is known to be weak
//
// In base64, up to four high bits of a phrase's first byte stay readable in the character before the mask. Other transformations (hex,
// compression, a space between all letters, a line number in the middle) are not seen. A phrase that was not given and has no
// known shape is not seen. A mask protects from accidents, not from a job that wants to tell its secrets.
//
// # How
//
// Text that holds no secret is looked at four bytes at a time, every second to eighth byte: a table says whether these four can stand
// near the beginning of anything that is sought. Only where they can, two Aho-Corasick automata walk, byte by byte, until nothing that
// began before is possible any more: one for text as it is, and one for base64, which does not see line breaks. Both take time
// linear in the input, whatever it is.
package mask
