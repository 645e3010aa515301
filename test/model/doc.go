// Package model explores small worlds.
package model
