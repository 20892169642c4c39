package cli

// always is a function that returns v.
func always[T any](v T) func() T { return func() T { return v } }
