// SPDX-License-Identifier: Apache-2.0

// Package vpc lets flannel be compiled without the library of a cloud, which is larger than all the
// rest of flannel, and which its VXLAN backend never calls.
package vpc

import "errors"

// A Client that refuses everything.
type Client struct{}

type Filter struct {
	Name   *string
	Values []*string
}

type Route struct {
	RouteId                                                 *uint64
	DestinationCidrBlock, GatewayType, GatewayId, RouteType *string
	Enabled                                                 *bool
}

type RouteTable struct {
	RouteTableId *string
	RouteSet     []*Route
}

type DescribeRouteTablesRequest struct{ Filters []*Filter }

type DescribeRouteTablesResponse struct {
	Response struct{ RouteTableSet []*RouteTable }
}

type ChangeRoutesRequest struct {
	RouteTableId *string
	Routes       []*Route
}

var errAbsent = errors.New("the library of Tencent's cloud is not in this program")

func NewClientWithSecretId(_, _, _ string) (*Client, error) { return nil, errAbsent }

func NewDescribeRouteTablesRequest() *DescribeRouteTablesRequest { return nil }

func NewDeleteRoutesRequest() *ChangeRoutesRequest { return nil }

func NewCreateRoutesRequest() *ChangeRoutesRequest { return nil }

func (*Client) DescribeRouteTables(*DescribeRouteTablesRequest) (*DescribeRouteTablesResponse, error) {
	return nil, errAbsent
}

func (*Client) DeleteRoutes(*ChangeRoutesRequest) (any, error) { return nil, errAbsent }

func (*Client) CreateRoutes(*ChangeRoutesRequest) (any, error) { return nil, errAbsent }
