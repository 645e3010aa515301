// Package serving is what stands around the services of a program that others call: the places where it listens, what it says of its own state,
// how it keeps connections, who calls, and the order in which everything ends.
//
// A program takes its admin address first ([Listen], [StartAdmin]) and says with [Phase] why it is not ready yet; takes the addresses for calls;
// registers [Health] beside its services; says that it is ready. Whatever it starts it puts on [Stops], which undoes it last first. To stop
// it says that it is not ready, waits for load balancers, ends its held streams, drains [Health], and calls [CutOff]. [Web] is the same for services over HTTP.
package serving
