// A TLS server that stalls where a plan (JSON, first argument) says, with Go's crypto/tls; one JSON line an event.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"
)

type plan struct {
	Addrs  []string                      `json:"addrs"`
	Port   int                           `json:"port"`
	Chain  string                        `json:"chain"`
	Key    string                        `json:"key"`
	Ca     string                        `json:"ca"`
	Mtls   bool                          `json:"mtls"`
	Hrr    bool                          `json:"hrr"`
	Stalls map[string]map[string]float64 `json:"stalls"`
}

var lock sync.Mutex

func say(event map[string]any) {
	lock.Lock()
	defer lock.Unlock()
	line, _ := json.Marshal(event)
	fmt.Println(string(line))
}

func now() float64 { return float64(time.Now().UnixNano()) / 1e9 }

func stall(peer int, stage string, span float64) {
	begun := now()
	time.Sleep(time.Duration(span * 1e6))
	say(map[string]any{"ev": "stall", "stage": stage, "ms": span, "t": begun, "t_end": now(), "peer": peer})
}

// late stalls before the second write: in TLS 1.2 the one with the server's own Finished.
type late struct {
	net.Conn
	writes int
	before func()
}

func (c *late) Write(b []byte) (int, error) {
	c.writes++
	if c.writes == 2 && c.before != nil {
		c.before()
	}
	return c.Conn.Write(b)
}

func serve(conn net.Conn, base *tls.Config, stalls map[string]float64) {
	defer conn.Close()
	peer := conn.RemoteAddr().(*net.TCPAddr).Port
	at := func(stage string) {
		if span, ok := stalls[stage]; ok {
			stall(peer, stage, span)
		}
	}
	at("accept")
	config := base.Clone()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		if _, ok := stalls["close"]; ok {
			say(map[string]any{"ev": "close", "t": now(), "peer": peer})
			conn.Close()
		}
		at("hello")
		return nil, nil
	}
	config.VerifyConnection = func(tls.ConnectionState) error { at("verify"); return nil }
	session := tls.Server(&late{Conn: conn, before: func() { at("second") }}, config)
	if err := session.Handshake(); err != nil {
		say(map[string]any{"ev": "failed", "peer": peer, "error": err.Error()})
		return
	}
	reader := bufio.NewReader(session)
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			return
		}
		if line == "\r\n" {
			break
		}
	}
	at("answer")
	fmt.Fprint(session, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n")
	session.CloseWrite()
	conn.SetReadDeadline(time.Now().Add(2 * time.Second))
	reader.ReadByte()
}

func main() {
	var p plan
	text, err := os.ReadFile(os.Args[1])
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err != nil {
		panic(err)
	}
	pair, err := tls.LoadX509KeyPair(p.Chain, p.Key)
	if err != nil {
		panic(err)
	}
	base := &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12}
	if p.Hrr {
		base.CurvePreferences = []tls.CurveID{tls.CurveP384}
	}
	// One session key for all connections: each has a copy of the configuration, with a key of its own otherwise.
	base.SetSessionTicketKeys([][32]byte{{1, 2, 3, 4}})
	if p.Mtls {
		pool := x509.NewCertPool()
		ca, _ := os.ReadFile(p.Ca)
		pool.AppendCertsFromPEM(ca)
		base.ClientAuth, base.ClientCAs = tls.RequireAndVerifyClientCert, pool
	}
	number := 0
	for _, address := range p.Addrs {
		listener, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(p.Port)))
		if err != nil {
			panic(err)
		}
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				lock.Lock()
				mine := strconv.Itoa(number)
				number++
				lock.Unlock()
				go serve(conn, base, p.Stalls[mine])
			}
		}()
	}
	select {}
}
