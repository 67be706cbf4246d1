// An HTTPS server with Go's net/http: where it listens, its chain and key.
package main

import (
	"io"
	"log"
	"net"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("/", func(answer http.ResponseWriter, _ *http.Request) { io.WriteString(answer, "ok\n") })
	log.Fatal(http.ListenAndServeTLS(net.JoinHostPort(os.Args[1], os.Args[2]), os.Args[3], os.Args[4], nil))
}
