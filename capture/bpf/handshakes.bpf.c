// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Only handshakes reach user space.
//
// In: every packet of an interface. Out: those whose bytes lie near the beginning of a connection, cut to these bytes. A packet
// is near the beginning while `seq - isn` is below the limit of its direction and `ack - isn` of the other one's: then
// retransmissions of a handshake pass by themselves, and bulk data, and the acknowledgements of bulk data, cost one lookup.
// The limits tighten once the client's first protected record has shown where the handshake ends.
//
// A SYN costs a spoofer nothing. Connections are therefore only candidates (`embryos`) until the client has shown that it
// knows the server's sequence number, and SYN packets go through a buffer of their own: a flood can fill neither what is
// remembered of real connections nor the way their packets take.
//
// Nothing here changes or drops a packet: the tc programs always say "next", the socket filter only fills its own socket.
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <stdbool.h>

#define SEC(name) __attribute__((section(name), used))
#define __uint(name, val) int (*name)[val]
#define __type(name, val) typeof(val) *name
#define always_inline inline __attribute__((always_inline))
#define bswap16(x) __builtin_bswap16(x)
#define bswap32(x) __builtin_bswap32(x)

static void *(*map_lookup)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static long (*map_update)(void *map, const void *key, const void *value, __u64 flags) = (void *)BPF_FUNC_map_update_elem;
static long (*map_delete)(void *map, const void *key) = (void *)BPF_FUNC_map_delete_elem;
static __u64 (*ktime_get_ns)(void) = (void *)BPF_FUNC_ktime_get_ns;
static long (*skb_load_bytes)(const void *skb, __u32 offset, void *to, __u32 len) = (void *)BPF_FUNC_skb_load_bytes;
static long (*ringbuf_output)(void *ring, void *data, __u64 size, __u64 flags) = (void *)BPF_FUNC_ringbuf_output;
static __u64 (*ringbuf_query)(void *ring, __u64 flags) = (void *)BPF_FUNC_ringbuf_query;

// ---- what user space sets before loading -------------------------------------------------------------------------------

// Bytes before the IP header: 14 on Ethernet, 0 on tunnels.
volatile const __u32 link_header = 14;
// Offsets up to which bytes of a direction pass before the handshake's end is known.
volatile const __u32 client_limit = 64 << 10;
volatile const __u32 server_limit = 160 << 10;
// The same of a server whose client's first bytes are no TLS, or 0-RTT data: no certificates come.
volatile const __u32 plain_limit = 64 << 10;
// Bytes that pass behind the first protected record of the client: a certificate of its own, Finished, a request's first record.
volatile const __u32 client_rest = 24 << 10;
// Bytes that pass behind what the server had sent by then: a ticket and Finished of TLS 1.2; of what TLS 1.3 has left, the beginning.
volatile const __u32 server_rest = 4 << 10;
volatile const __u32 server_rest_13 = 512;
// A reader is woken only when so many bytes wait; else it looks by itself.
volatile const __u32 wake_at = 1 << 20;
volatile const __u32 wake_at_syns = 256 << 10;

// A bit for each port on which servers of interest listen.
volatile const __u64 ports[1024] = {};
// Drawn anew for each load: nobody can choose addresses that are one flow to us.
volatile const __u64 secret[2] = {};

// ---- maps -------------------------------------------------------------------------------------------------------------

struct tuple {
	__u32 client[4];
	__u32 server[4];
	__u16 client_port;
	__u16 server_port;
};

// A tuple as maps know it: of IPv4 all of it, of IPv6 a hash of 127 bits.
struct key {
	__u64 a, b;
};

struct embryo {
	__u32 client_isn;
	__u32 server_isn;
	__u32 answered;
	// Bytes of data in its SYN (TCP Fast Open, RFC 7413), and where the record behind the one that they begin with begins.
	__u32 offered;
	__u32 next_record;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct key);
	__type(value, struct embryo);
} embryos SEC(".maps");

struct flow {
	__u32 client_isn;
	__u32 server_isn;
	__u32 client_limit;
	__u32 server_limit;
	// Offset at which the client's next TLS record begins, as far as its bytes came in order.
	__u32 next_record;
	__u8 tight;
	// Its last clear record was ChangeCipherSpec.
	__u8 changed;
	// It sent data before the server's answer (0-RTT): its first protected record says nothing.
	__u8 early;
	// Far behind the handshake: sequence numbers may wrap.
	__u8 closed;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct key);
	__type(value, struct flow);
} flows SEC(".maps");

struct address {
	__u32 words[4];
};

// This host's addresses, but for those of loopback: whose connections leave by an interface with one of them as the client's end are
// the edge's own. By that alone it cannot be told: on the way to a container, to a virtual machine or through a router, clients' SYNs
// leave, too.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct address);
	__type(value, __u8);
} own SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} packets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} syns SEC(".maps");

// What a packet is written as. `bytes` begins at the link header.
#define RECORD_HEADER 72
#define MOST_BYTES (32768 - RECORD_HEADER)
#define OUTGOING 1
#define FROM_CLIENT 2
struct record {
	__u64 at; // CLOCK_MONOTONIC, nanoseconds
	__u32 wire_len;
	__u32 len;
	__u32 interface;
	__u32 payload_len;
	__u32 seq, ack;
	__u16 payload_at; // in `bytes`
	__u8 flags; // TCP's
	__u8 way;
	struct tuple tuple;
	__u8 bytes[MOST_BYTES];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct record);
} scratch SEC(".maps");

struct counters {
	__u64 seen;        // packets of interest: TCP, to or from a wanted port
	__u64 passed;      // handshake packets handed over
	__u64 syns;        // SYN and SYN-ACK packets handed over
	__u64 lost;        // handshake packets for which there was no room
	__u64 syns_lost;   // SYN and SYN-ACK packets for which there was no room
	__u64 connections; // connections established
	__u64 late;        // of these, those whose SYN was not known
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counters);
} counted SEC(".maps");

// ---- headers ------------------------------------------------------------------------------------------------------------

#define FIN 1
#define SYN 2
#define RST 4
#define ACK 16

struct headers {
	struct tuple tuple;
	struct key key;
	__u32 seq, ack;
	__u32 payload_at; // from the beginning of the frame
	__u32 payload_len;
	__u8 flags;
	bool from_client;
};

static always_inline bool wanted(__u16 port)
{
	return ports[port >> 6] >> (port & 63) & 1;
}

struct tcp {
	__u16 source, dest;
	__u32 seq, ack;
	__u8 offset, flags;
	__u16 window, checksum, urgent;
};

// IPv4 and the beginning of TCP in one load: nearly every packet needs no other.
struct ipv4_tcp {
	__u8 version_ihl, tos;
	__u16 total, id, fragment;
	__u8 ttl, protocol;
	__u16 checksum;
	__u32 source, dest;
	struct tcp tcp;
};

struct ipv6_tcp {
	__u32 flow;
	__u16 payload;
	__u8 next, hops;
	__u32 source[4], dest[4];
	struct tcp tcp;
};

static always_inline void ends(struct headers *h, const struct tcp *tcp, const __u32 *source, const __u32 *dest, bool from_client)
{
	h->from_client = from_client;
	h->seq = bswap32(tcp->seq);
	h->ack = bswap32(tcp->ack);
	h->flags = tcp->flags;
	const __u32 *client = from_client ? source : dest, *server = from_client ? dest : source;
	for (int i = 0; i < 4; i++) {
		h->tuple.client[i] = client[i];
		h->tuple.server[i] = server[i];
	}
	h->tuple.client_port = from_client ? tcp->source : tcp->dest;
	h->tuple.server_port = from_client ? tcp->dest : tcp->source;
	__u32 both_ports = (__u32)h->tuple.client_port << 16 | h->tuple.server_port;
	if (client[0] == 0 && client[1] == 0 && client[2] == bswap32(0xffff)) {
		h->key.a = (__u64)client[3] << 32 | server[3];
		h->key.b = both_ports;
		return;
	}
	__u64 a = secret[0], b = secret[1] ^ both_ports;
	for (int i = 0; i < 4; i++) {
		__u64 word = (__u64)client[i] << 32 | server[i];
		a = (a ^ word) * 0x9e3779b97f4a7c15;
		a ^= a >> 32;
		b = (b + a) * 0xc2b2ae3d27d4eb4f;
		b ^= b >> 29;
	}
	h->key.a = a;
	h->key.b = b | 1ull << 63; // no IPv4
}

// Reads headers: where they lie, if the kernel has them in one piece and this kind of program may (`direct`).
static always_inline bool load(struct __sk_buff *skb, bool direct, __u32 at, void *to, __u32 len)
{
	if (direct) {
		void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
		if (at <= 64 && data + at + len <= end) {
			__builtin_memcpy(to, data + at, len);
			return true;
		}
	}
	return !skb_load_bytes(skb, at, to, len);
}

// Whether it is TCP of a wanted port; fills `h` then.
static always_inline bool parse(struct __sk_buff *skb, struct headers *h, bool direct)
{
	__u32 at = link_header;
	__u16 protocol = skb->protocol;
	// Tags within the frame; the outermost is usually kept beside it.
	for (int i = 0; i < 2 && (protocol == bswap16(0x8100) || protocol == bswap16(0x88a8)); i++) {
		if (skb_load_bytes(skb, at + 2, &protocol, 2))
			return false;
		at += 4;
	}
	struct tcp tcp;
	__u32 source[4] = {}, dest[4] = {}, end;
	if (protocol == bswap16(0x0800)) {
		struct ipv4_tcp ip;
		if (!load(skb, direct, at, &ip, sizeof(ip)))
			return false;
		if (ip.protocol != 6 || ip.fragment & bswap16(0x1fff))
			return false;
		tcp = ip.tcp;
		__u32 header = (ip.version_ihl & 15) * 4;
		source[2] = dest[2] = bswap32(0xffff);
		source[3] = ip.source;
		dest[3] = ip.dest;
		// A super-frame may leave its length to the segmentation to come.
		end = ip.total ? at + bswap16(ip.total) : skb->len;
		at += header;
		if (header != 20 && skb_load_bytes(skb, at, &tcp, sizeof(tcp)))
			return false;
	} else if (protocol == bswap16(0x86dd)) {
		struct ipv6_tcp ip;
		if (!load(skb, direct, at, &ip, sizeof(ip)))
			return false;
		tcp = ip.tcp;
		for (int i = 0; i < 4; i++) {
			source[i] = ip.source[i];
			dest[i] = ip.dest[i];
		}
		end = ip.payload ? at + 40 + bswap16(ip.payload) : skb->len;
		at += 40;
		__u8 next = ip.next;
		for (int i = 0; i < 4 && next != 6; i++) {
			__u8 extension[4];
			if (next != 0 && next != 43 && next != 44 && next != 60 && next != 135)
				return false;
			if (skb_load_bytes(skb, at, extension, 4))
				return false;
			if (next == 44 && ((extension[2] << 8 | extension[3]) & 0xfff8))
				return false; // a later fragment
			at += next == 44 ? 8 : 8 + extension[1] * 8;
			next = extension[0];
			if (next == 6 && skb_load_bytes(skb, at, &tcp, sizeof(tcp)))
				return false;
		}
		if (next != 6)
			return false;
	} else {
		return false;
	}
	__u16 from = bswap16(tcp.source), to = bswap16(tcp.dest);
	bool syn = tcp.flags & SYN, ack = tcp.flags & ACK;
	bool to_wanted = wanted(to), from_wanted = wanted(from);
	// Where both ports are wanted, SYN tells who is who; later packets are taken to go to the lower port or come from it.
	bool from_client = to_wanted && (!from_wanted || (syn ? !ack : to <= from));
	if (!from_client && (!from_wanted || (syn && !ack)))
		return false;
	ends(h, &tcp, source, dest, from_client);
	h->payload_at = at + (tcp.offset >> 4) * 4;
	h->payload_len = end > h->payload_at ? end - h->payload_at : 0;
	return true;
}

// ---- the handshake's bytes ------------------------------------------------------------------------------------------------

#define CHANGE_CIPHER_SPEC 20
#define HANDSHAKE 22
#define APPLICATION_DATA 23
// TLS 1.2's Finished is shorter than this with every cipher suite; the ClientHello that answers a HelloRetryRequest is longer.
#define FINISHED_12 97
// No record begins here.
#define NEVER 0xffffffff

// Whether what begins a record is TLS; gives how many bytes of it follow.
static always_inline bool is_record(const __u8 *header, __u32 *len)
{
	*len = header[3] << 8 | header[4];
	return header[0] >= CHANGE_CIPHER_SPEC && header[0] <= 24 && header[1] == 3 && *len <= 16640;
}

static always_inline void tighten(struct flow *flow, __u32 from, __u32 acked, __u32 rest)
{
	flow->client_limit = from + client_rest;
	flow->server_limit = acked + rest;
	flow->tight = 1;
}

// Looks for the client's first protected record in data that continues what was read.
static always_inline void read_records(struct __sk_buff *skb, const struct headers *h, struct flow *flow, __u32 start, __u32 acked)
{
	__u32 end = start + h->payload_len;
	for (int i = 0; i < 8; i++) {
		__u32 at = flow->next_record;
		if (at < start || at + 5 > end)
			return;
		__u8 header[5];
		if (skb_load_bytes(skb, h->payload_at + (at - start), header, 5))
			return;
		__u32 len;
		if (!is_record(header, &len)) {
			flow->next_record = NEVER; // no TLS: never tight
			flow->server_limit = plain_limit;
			return;
		}
		if (header[0] == APPLICATION_DATA) {
			if (acked == 0) {
				flow->early = 1;
				flow->server_limit = plain_limit;
			}
			if (!flow->early)
				return tighten(flow, at, acked, server_rest_13);
		}
		if (header[0] == HANDSHAKE && flow->changed && len < FINISHED_12)
			return tighten(flow, at, acked, server_rest);
		flow->changed = header[0] == CHANGE_CIPHER_SPEC;
		flow->next_record = at + 5 + len;
	}
}

// What is remembered of a SYN.
static always_inline struct embryo of_syn(struct __sk_buff *skb, const struct headers *h)
{
	struct embryo born = { .client_isn = h->seq, .offered = h->payload_len };
	__u8 header[5];
	__u32 len;
	if (h->payload_len >= sizeof(header) && !skb_load_bytes(skb, h->payload_at, header, sizeof(header)))
		born.next_record = is_record(header, &len) && header[0] == HANDSHAKE ? 5 + len : NEVER;
	return born;
}

// Whether it is the edge that speaks as a client.
static always_inline bool of_our_own(const struct headers *h, bool outgoing)
{
	return outgoing && map_lookup(&own, h->tuple.client);
}

// How many bytes of the frame to hand over; 0: none. `syn` says through which buffer.
static always_inline __u32 judge(struct __sk_buff *skb, struct headers *h, struct counters *n, bool *syn, bool outgoing)
{
	__u32 whole = skb->len;
	struct flow *flow;
	struct embryo *embryo;
	*syn = h->flags & SYN;
	if (*syn && !(h->flags & ACK)) {
		// The edge's own connections to others' ports are not what it is asked about.
		if (of_our_own(h, outgoing))
			return 0;
		flow = map_lookup(&flows, &h->key);
		if (flow && flow->client_isn != h->seq)
			map_delete(&flows, &h->key); // the port is used again
		else if (flow)
			return whole; // its SYN once more
		struct embryo born = of_syn(skb, h);
		embryo = map_lookup(&embryos, &h->key);
		if (!embryo || embryo->client_isn != h->seq)
			map_update(&embryos, &h->key, &born, BPF_ANY);
		return whole;
	}
	flow = map_lookup(&flows, &h->key);
	if (*syn) {
		if (flow)
			return whole;
		embryo = map_lookup(&embryos, &h->key);
		__u32 taken = embryo ? h->ack - embryo->client_isn - 1 : 0;
		if (!embryo || taken > embryo->offered)
			return 0;
		embryo->server_isn = h->seq;
		embryo->answered = 1;
		if (taken) {
			// A server takes data of a SYN only from whom it knows (RFC 7413), and may answer before the client speaks again.
			struct flow begun = { .client_limit = client_limit, .server_limit = server_limit };
			begun.client_isn = embryo->client_isn;
			begun.server_isn = embryo->server_isn;
			begun.next_record = embryo->next_record;
			map_delete(&embryos, &h->key);
			map_update(&flows, &h->key, &begun, BPF_ANY);
			n->connections++;
		}
		return whole;
	}
	if (!flow) {
		struct flow begun = { .client_limit = client_limit, .server_limit = server_limit };
		embryo = map_lookup(&embryos, &h->key);
		if (embryo) {
			if (h->flags & RST) {
				map_delete(&embryos, &h->key);
				return whole;
			}
			// A SYN answered by a bare acknowledgement: the server holds an old connection (RFC 5961, section 4).
			if (!h->from_client && !embryo->answered && h->flags & ACK && !h->payload_len)
				return whole;
			if (!h->from_client || !embryo->answered || !(h->flags & ACK))
				return 0;
			// Who knows the server's number has had its SYN-ACK.
			if (h->ack - embryo->server_isn - 1 > server_limit)
				return 0;
			begun.client_isn = embryo->client_isn;
			begun.server_isn = embryo->server_isn;
			begun.next_record = embryo->next_record;
			map_delete(&embryos, &h->key);
		} else {
			// A connection whose SYN was not seen, or forgotten: its ClientHello still tells that it begins.
			__u8 hello[6];
			if (!h->from_client || h->payload_len < sizeof(hello) || skb_load_bytes(skb, h->payload_at, hello, sizeof(hello)))
				return 0;
			if (hello[0] != HANDSHAKE || hello[1] != 3 || hello[5] != 1 || of_our_own(h, outgoing))
				return 0;
			begun.client_isn = h->seq - 1;
			begun.server_isn = h->ack - 1;
			n->late++;
		}
		map_update(&flows, &h->key, &begun, BPF_ANY);
		n->connections++;
		flow = map_lookup(&flows, &h->key);
		if (!flow)
			return 0;
	}
	if (flow->closed)
		return 0;
	__u32 client_isn = flow->client_isn, server_isn = flow->server_isn;
	__u32 client_left = flow->client_limit, server_left = flow->server_limit;
	// Read before they are chosen from: else the compiler computes the address, and the verifier does not follow.
	asm volatile("" : "+r"(client_isn), "+r"(server_isn), "+r"(client_left), "+r"(server_left));
	__u32 start = h->seq - (h->from_client ? client_isn : server_isn) - 1;
	__u32 acked = h->ack - (h->from_client ? server_isn : client_isn) - 1;
	__s32 left = (h->from_client ? client_left : server_left) - start;
	__s32 ack_left = (h->from_client ? server_left : client_left) - acked;
	// What a client says in its handshake passes however much the server had to say before it: while its records are followed.
	bool followed = !flow->tight && !flow->early && flow->next_record != NEVER;
	bool acks = h->flags & ACK && !(h->from_client && h->payload_len && followed && ack_left > -(1 << 28));
	if (left <= 0 || (acks && ack_left < 0)) {
		if (left < -(1 << 28) || (acks && ack_left < -(1 << 28)))
			flow->closed = 1;
		return 0;
	}
	if (h->from_client && !flow->tight && h->payload_len)
		read_records(skb, h, flow, start, acked);
	__u32 keep = h->payload_at + (h->payload_len < (__u32)left ? h->payload_len : (__u32)left);
	return keep < whole ? keep : whole;
}

// ---- programs -------------------------------------------------------------------------------------------------------------

static always_inline int tap(struct __sk_buff *skb, bool outgoing)
{
	struct headers h = {};
	bool syn = false;
	// By loopback each packet leaves and comes.
	if (outgoing && skb->ifindex == 1)
		return TC_ACT_UNSPEC;
	if (!parse(skb, &h, true))
		return TC_ACT_UNSPEC;
	__u32 zero = 0;
	struct counters *n = map_lookup(&counted, &zero);
	if (!n)
		return TC_ACT_UNSPEC;
	n->seen++;
	__u32 len = judge(skb, &h, n, &syn, outgoing);
	if (!len)
		return TC_ACT_UNSPEC;
	struct record *record = map_lookup(&scratch, &zero);
	if (!record)
		return TC_ACT_UNSPEC;
	if (len > MOST_BYTES)
		len = MOST_BYTES;
	if (skb_load_bytes(skb, 0, record->bytes, len))
		return TC_ACT_UNSPEC;
	record->at = ktime_get_ns();
	record->wire_len = skb->len;
	record->len = len;
	record->interface = skb->ifindex;
	record->payload_len = h.payload_len;
	record->seq = h.seq;
	record->ack = h.ack;
	record->payload_at = h.payload_at;
	record->flags = h.flags;
	record->way = (outgoing ? OUTGOING : 0) | (h.from_client ? FROM_CLIENT : 0);
	record->tuple = h.tuple;
	__u64 size = RECORD_HEADER + len;
	bool wake = syn ? ringbuf_query(&syns, BPF_RB_AVAIL_DATA) >= wake_at_syns : ringbuf_query(&packets, BPF_RB_AVAIL_DATA) >= wake_at;
	long full = syn ? ringbuf_output(&syns, record, size, wake ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP)
			: ringbuf_output(&packets, record, size, wake ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP);
	if (syn)
		*(full ? &n->syns_lost : &n->syns) += 1;
	else
		*(full ? &n->lost : &n->passed) += 1;
	return TC_ACT_UNSPEC;
}

SEC("classifier")
int ingress(struct __sk_buff *skb)
{
	return tap(skb, false);
}

SEC("classifier")
int egress(struct __sk_buff *skb)
{
	return tap(skb, true);
}

// For a packet socket: gives the number of bytes that the socket should have of this packet.
SEC("socket")
int filter(struct __sk_buff *skb)
{
	struct headers h = {};
	bool syn = false;
	bool outgoing = skb->pkt_type == 4 /* PACKET_OUTGOING */;
	// By loopback each packet leaves and comes.
	if (outgoing && skb->ifindex == 1)
		return 0;
	if (!parse(skb, &h, false))
		return 0;
	__u32 zero = 0;
	struct counters *n = map_lookup(&counted, &zero);
	if (!n)
		return 0;
	n->seen++;
	__u32 len = judge(skb, &h, n, &syn, outgoing);
	if (len)
		*(syn ? &n->syns : &n->passed) += 1;
	return len;
}

char licence[] SEC("license") = "Apache-2.0 OR MIT";
