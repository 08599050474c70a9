// flannel's CNI plugin as it was in the last version of the reference plugins that had it. A module of
// its own, since flannel wants a later version of these. With the CNI library of today it speaks the
// versions that flannel's own conflist names.
module linen.test/flannel-plugin

go 1.25.0

tool github.com/containernetworking/plugins/plugins/meta/flannel

require (
	github.com/containernetworking/cni v1.3.1
	github.com/containernetworking/plugins v0.9.1
)

require (
	github.com/vishvananda/netns v0.0.4 // indirect
	go.opentelemetry.io/otel v1.29.0 // indirect
	go.opentelemetry.io/otel/trace v1.29.0 // indirect
	golang.org/x/sys v0.23.0 // indirect
)
