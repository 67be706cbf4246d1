// Handshakes as a plan (JSON, first argument) asks for, with Go's crypto/tls; one JSON line an event on standard output.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

type one struct {
	Addr         string             `json:"addr"`
	Port         int                `json:"port"`
	Stall        map[string]float64 `json:"stall"`
	Fetch        string             `json:"fetch"`
	FetchTimeout float64            `json:"fetch_timeout"`
	Distrust     bool               `json:"distrust"`
	NoCert       bool               `json:"no_cert"`
	Old          bool               `json:"old"`
}

type plan struct {
	Ca         string  `json:"ca"`
	Cert       string  `json:"cert"`
	Key        string  `json:"key"`
	Version    string  `json:"version"`
	Mtls       bool    `json:"mtls"`
	Resume     bool    `json:"resume"`
	BigHello   bool    `json:"big_hello"`
	Concurrent bool    `json:"concurrent"`
	GapMs      float64 `json:"gap_ms"`
	TimeoutMs  float64 `json:"timeout_ms"`
	Handshakes []one   `json:"handshakes"`
}

var lock sync.Mutex

func say(event map[string]any) {
	lock.Lock()
	defer lock.Unlock()
	line, _ := json.Marshal(event)
	fmt.Println(string(line))
}

func ms(m float64) time.Duration { return time.Duration(m * 1e6) }
func now() float64               { return float64(time.Now().UnixNano()) / 1e9 }

func stall(port int, stage string, span float64) {
	begun := now()
	time.Sleep(ms(span))
	say(map[string]any{"ev": "stall", "stage": stage, "ms": span, "t": begun, "t_end": now(), "port": port})
}

// late stalls before the program writes what is neither its ClientHello nor a ChangeCipherSpec alone.
type late struct {
	net.Conn
	writes int
	before func()
}

func (c *late) Write(b []byte) (int, error) {
	if !(len(b) == 6 && b[0] == 20) {
		c.writes++
		if c.writes == 2 && c.before != nil {
			c.before()
		}
	}
	return c.Conn.Write(b)
}

func run(p *plan, base *tls.Config, o one) {
	var port int
	resumed := false
	err := func() error {
		dialer := net.Dialer{Timeout: ms(p.TimeoutMs)}
		conn, err := dialer.Dial("tcp", net.JoinHostPort(o.Addr, fmt.Sprint(o.Port)))
		if err != nil {
			return err
		}
		defer conn.Close()
		port = conn.LocalAddr().(*net.TCPAddr).Port
		conn.SetDeadline(time.Now().Add(ms(p.TimeoutMs)))
		if span, ok := o.Stall["hello"]; ok {
			stall(port, "hello", span)
		}
		config := base.Clone()
		config.VerifyConnection = func(tls.ConnectionState) error {
			if span, ok := o.Stall["verify"]; ok {
				stall(port, "verify", span)
			}
			if o.Fetch != "" {
				begun := now()
				client := http.Client{Timeout: ms(o.FetchTimeout), Transport: &http.Transport{DisableKeepAlives: true}}
				if answer, err := client.Get(o.Fetch); err == nil {
					io.Copy(io.Discard, answer.Body)
					answer.Body.Close()
				}
				say(map[string]any{"ev": "fetch", "t": begun, "t_end": now(), "url": o.Fetch, "port": port})
			}
			return nil
		}
		if o.Distrust {
			config.RootCAs = x509.NewCertPool()
			config.ClientSessionCache = nil
		}
		if o.NoCert {
			config.GetClientCertificate = nil
			config.Certificates = nil
		} else if span, ok := o.Stall["key"]; ok && p.Mtls {
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				stall(port, "key", span)
				return &base.Certificates[0], nil
			}
		}
		if o.Old {
			config.MinVersion, config.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
		}
		wrapped := &late{Conn: conn}
		if span, ok := o.Stall["finished"]; ok {
			wrapped.before = func() { stall(port, "finished", span) }
		}
		session := tls.Client(wrapped, config)
		if err := session.Handshake(); err != nil {
			return err
		}
		resumed = session.ConnectionState().DidResume
		fmt.Fprint(session, "GET / HTTP/1.1\r\nHost: lab.test\r\nConnection: close\r\n\r\n")
		_, err = io.Copy(io.Discard, bufio.NewReader(session))
		session.Close()
		return err
	}()
	done := map[string]any{"ev": "done", "ok": err == nil, "resumed": resumed, "port": port, "t": now()}
	if err != nil {
		done["error"] = err.Error()
	}
	say(done)
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
	roots := x509.NewCertPool()
	ca, _ := os.ReadFile(p.Ca)
	roots.AppendCertsFromPEM(ca)
	base := &tls.Config{RootCAs: roots, ServerName: "lab.test"}
	if p.Version == "1.2" {
		base.MaxVersion = tls.VersionTLS12
	}
	if p.Resume {
		base.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	}
	if p.Mtls {
		pair, err := tls.LoadX509KeyPair(p.Cert, p.Key)
		if err != nil {
			panic(err)
		}
		base.Certificates = []tls.Certificate{pair}
	}
	if p.BigHello {
		base.NextProtos = []string{"http/1.1"}
		for i := 0; i < 90; i++ {
			base.NextProtos = append(base.NextProtos, fmt.Sprintf("name-of-no-protocol-%03d", i))
		}
	}
	var group sync.WaitGroup
	for _, o := range p.Handshakes {
		if p.Concurrent {
			group.Add(1)
			go func(o one) { defer group.Done(); run(&p, base, o) }(o)
		} else {
			run(&p, base, o)
		}
		time.Sleep(ms(p.GapMs))
	}
	group.Wait()
}
