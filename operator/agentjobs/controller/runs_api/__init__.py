"""The runs API's place in the cluster: who registers it with the API server, who withdraws it, and its certificates.

An APIService that nobody answers for keeps every namespace of the cluster from being deleted. So it is no object of the
chart: the operator that leads makes it when a server is ready, and takes it away when the API server cannot reach it.
https://kubernetes.io/docs/concepts/extend-kubernetes/api-extension/apiserver-aggregation/
"""
