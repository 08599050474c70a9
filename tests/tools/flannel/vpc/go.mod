// What flannel's backend for Tencent's cloud is compiled with, in place of that cloud's library.
module github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/vpc

go 1.26.0
