// SPDX-License-Identifier: Apache-2.0 OR MIT OR GPL-2.0-only
// (The kernel lends the running task to programs under a licence compatible with the GPL only.)
//
// When did the server's program read and write, and how long had its thread waited for a CPU by then?
//
// In: reads and writes of TCP sockets on wanted ports, the first few of each connection. Out: for each, the time, the connection,
// the thread, and the thread's own counters: time on a CPU, time ready without one. Together with the packets that tells a host that
// starves the server from a server that computes or sleeps.
#include <linux/bpf.h>
#include <stdbool.h>

#define SEC(name) __attribute__((section(name), used))
#define __uint(name, val) int (*name)[val]
#define __type(name, val) typeof(val) *name
#define always_inline inline __attribute__((always_inline))

static void *(*map_lookup)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static long (*map_update)(void *map, const void *key, const void *value, __u64 flags) = (void *)BPF_FUNC_map_update_elem;
static __u64 (*ktime_get_ns)(void) = (void *)BPF_FUNC_ktime_get_ns;
static void *(*ringbuf_reserve)(void *ring, __u64 size, __u64 flags) = (void *)BPF_FUNC_ringbuf_reserve;
static void (*ringbuf_submit)(void *data, __u64 flags) = (void *)BPF_FUNC_ringbuf_submit;
static void *(*current_task)(void) = (void *)BPF_FUNC_get_current_task_btf;

// As much of the kernel's structures as is read here; where it lies is found out when the program is loaded (CO-RE).
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct in6_addr {
	union {
		__u32 u6_addr32[4];
	} in6_u;
};
struct sock_common {
	__u32 skc_daddr, skc_rcv_saddr;
	__u16 skc_dport, skc_num, skc_family;
	struct in6_addr skc_v6_daddr, skc_v6_rcv_saddr;
};
struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol;
};
struct sched_info {
	unsigned long long run_delay;
};
struct sched_entity {
	__u64 sum_exec_runtime;
};
struct task_struct {
	int pid, tgid;
	struct sched_entity se;
	struct sched_info sched_info;
};
#pragma clang attribute pop

// A bit for each port on which servers of interest listen.
volatile const __u64 ports[1024] = {};

// How many events of a socket were told, by its address.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, __u32);
} told SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} events SEC(".maps");

#define MOST_TOLD 12
#define ESTABLISHED 1

enum kind { OPENED, READ, WROTE };

struct event {
	__u64 at;
	__u64 cpu;
	__u64 run_delay;
	__u32 client[4], server[4];
	__u16 client_port, server_port;
	__u32 thread;
	__u32 kind;
	__u32 ipv6;
};

static always_inline int tell(struct sock *sk, enum kind kind)
{
	__u16 port = sk->__sk_common.skc_num;
	if (!(ports[port >> 6] >> (port & 63) & 1) || sk->sk_protocol != 6)
		return 0;
	__u64 key = (__u64)sk;
	__u32 none = 0, *count = map_lookup(&told, &key);
	if (kind == OPENED || !count) {
		map_update(&told, &key, &none, BPF_ANY); // the address of a socket is used again
	} else {
		if (*count >= MOST_TOLD)
			return 0;
		*count += 1;
	}
	struct event *event = ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event)
		return 0;
	event->at = ktime_get_ns();
	event->cpu = event->run_delay = 0;
	event->thread = 0;
	// A connection is opened by whatever the CPU was doing when the packet came.
	if (kind != OPENED) {
		struct task_struct *task = current_task();
		event->cpu = task->se.sum_exec_runtime;
		event->run_delay = task->sched_info.run_delay;
		event->thread = task->pid;
	}
	event->kind = kind;
	event->ipv6 = sk->__sk_common.skc_family == 10;
	event->client_port = __builtin_bswap16(sk->__sk_common.skc_dport);
	event->server_port = port;
	if (event->ipv6) {
		for (int i = 0; i < 4; i++) {
			event->client[i] = sk->__sk_common.skc_v6_daddr.in6_u.u6_addr32[i];
			event->server[i] = sk->__sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32[i];
		}
	} else {
		event->client[0] = sk->__sk_common.skc_daddr;
		event->server[0] = sk->__sk_common.skc_rcv_saddr;
		event->client[1] = event->client[2] = event->client[3] = 0;
		event->server[1] = event->server[2] = event->server[3] = 0;
	}
	ringbuf_submit(event, BPF_RB_NO_WAKEUP);
	return 0;
}

SEC("tp_btf/inet_sock_set_state")
int opened(__u64 *arguments)
{
	return (int)arguments[2] == ESTABLISHED ? tell((struct sock *)arguments[0], OPENED) : 0;
}

SEC("tp_btf/sock_recv_length")
int received(__u64 *arguments)
{
	return (int)arguments[1] > 0 ? tell((struct sock *)arguments[0], READ) : 0;
}

SEC("tp_btf/sock_send_length")
int sent(__u64 *arguments)
{
	return (int)arguments[1] > 0 ? tell((struct sock *)arguments[0], WROTE) : 0;
}

char licence[] SEC("license") = "Dual MIT/GPL";
