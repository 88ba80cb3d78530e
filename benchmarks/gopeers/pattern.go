package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
)

// What is sent and checked repeats every 64 KiB: block i is the SHA-256 of i as 8 bytes, big endian.
const patternSize = 64 << 10

// twice is the pattern two times, so that as many bytes as it has are in one piece from any offset.
var twice = repeated(patternSize)

// repeated returns the pattern followed by n more bytes of it.
func repeated(n int) []byte {
	pattern := make([]byte, 0, patternSize)
	for i := uint64(0); len(pattern) < patternSize; i++ {
		block := sha256.Sum256(binary.BigEndian.AppendUint64(nil, i))
		pattern = append(pattern, block[:]...)
	}
	data := make([]byte, 0, patternSize+n)
	for len(data) < patternSize+n {
		rest := patternSize + n - len(data)
		if rest > patternSize {
			rest = patternSize
		}
		data = append(data, pattern[:rest]...)
	}
	return data
}

// piece returns the n bytes of the pattern at offset; n is at most patternSize.
func piece(offset int64, n int) []byte {
	at := int(offset % patternSize)
	return twice[at : at+n]
}

// isPattern says whether data, at most patternSize bytes, is what the pattern has at offset.
func isPattern(data []byte, offset int64) bool { return bytes.Equal(data, piece(offset, len(data))) }
