"""The Python client library of Redis in its cluster form: it asks who owns which slot and talks to the owning core.

It is given the shared port alone, as a user would give it, and must find the cores' own ports by itself.
"""

import sys

from redis.cluster import ClusterNode, RedisCluster
from redis.crc import key_slot

from _server import Server, run

SLOTS = 16384


def cluster(server, address=None, **options):
    host, port = address or server.resp
    return RedisCluster(host=host, port=port, socket_timeout=30, **options)


def test_it_finds_every_core():
    with Server() as server:
        r = cluster(server)
        found = sorted(node.port for node in r.get_primaries())
        assert found == sorted(port for _, port in server.cores), f"found {found}, cores are {server.cores}"
        assert r.get_replicas() == []


def test_every_slot_has_one_owner():
    with Server() as server:
        r = cluster(server)
        owned = {port: 0 for _, port in server.cores}
        for slot in range(SLOTS):
            owned[r.nodes_manager.get_node_from_slot(slot).port] += 1
        assert all(owned.values()), f"a core owns nothing: {owned}"
        assert max(owned.values()) <= 1.05 * SLOTS / len(owned) + 1, (
            f"no core above 1.05 of its share: {owned}"
        )


def test_keys_on_all_cores():
    with Server() as server:
        r = cluster(server)
        for number in range(1000):
            assert r.set(f"key:{number}", number)
        for number in range(1000):
            assert r.get(f"key:{number}") == b"%d" % number
        # As a set: SCAN may give a key twice.
        assert sorted(set(r.scan_iter(match="key:99*"))) == sorted(
            b"key:%d" % n for n in [99, *range(990, 1000)]
        )
        assert r.flushall() and r.dbsize() == 0


def test_the_owner_is_asked_and_nobody_points_elsewhere():
    with Server() as server:
        r = cluster(server)
        for number in range(200):
            key = f"direct:{number}"
            node = r.get_node_from_key(key)
            assert node.redis_connection.execute_command("SET", key, number), "a MOVED would have been raised"


def test_slots_are_counted_alike():
    with Server() as server:
        r = cluster(server)
        for key in ["foo", "{tag}a", "{tag}b", "a{}b", "{{x}}", "", "{", "\x00\xff"]:
            assert r.cluster_keyslot(key) == key_slot(key.encode()), f"slot of {key!r}"
        r.mset_nonatomic({f"{{same}}{number}": number for number in range(20)})
        slot = key_slot(b"{same}")
        assert r.cluster_countkeysinslot(slot) == 20
        assert len(r.cluster_get_keys_in_slot(slot, 5)) == 5


def test_several_keys_over_slots():
    with Server() as server:
        r = cluster(server)
        values = {f"several:{number}": f"{number}" for number in range(300)}
        assert all(r.mset_nonatomic(values))
        assert r.mget_nonatomic(list(values)) == [value.encode() for value in values.values()]
        assert r.exists(*values) == 300
        assert r.touch(*values) == 300
        assert r.delete(*values) == 300


def test_several_keys_of_one_hash_tag():
    with Server() as server:
        r = cluster(server)
        assert r.mset({"{t}a": 1, "{t}b": 2})
        assert r.mget("{t}a", "{t}b", "{t}c") == [b"1", b"2", None]
        assert not r.msetnx({"{t}a": 3, "{t}c": 3})
        assert r.rename("{t}a", "{t}d") and r.get("{t}d") == b"1"
        assert r.copy("{t}d", "{t}e") and r.get("{t}e") == b"1"


def test_pipelines():
    with Server() as server:
        pipeline = cluster(server).pipeline()
        for number in range(1000):
            pipeline.set(f"p{number}", number)
            pipeline.incr(f"p{number}")
        assert pipeline.execute() == [answer for number in range(1000) for answer in (True, number + 1)]


def test_both_versions_of_the_protocol():
    with Server() as server:
        for protocol in (2, 3):
            r = cluster(server, protocol=protocol)
            assert r.set("k", protocol) and r.get("k") == b"%d" % protocol


def test_any_core_can_be_the_first_asked():
    with Server() as server:
        for address in server.cores:
            r = cluster(server, address)
            assert len(r.get_primaries()) == len(server.cores)
            assert r.set("k", "v") and r.get("k") == b"v"


def test_what_it_says_of_itself():
    with Server() as server:
        r = cluster(server, startup_nodes=None)
        info = r.cluster_info(target_nodes=RedisCluster.RANDOM)
        assert info["cluster_state"] == "ok" and info["cluster_slots_assigned"] == str(SLOTS), info
        nodes = r.cluster_nodes()
        assert len(nodes) == len(server.cores), nodes
        names = {node["node_id"] for node in nodes.values()}
        assert len(names) == len(nodes) and all(len(name) == 40 for name in names), names
        for host, port in server.cores:
            one = (
                r.get_redis_connection(ClusterNode(host, port))
                if r.get_node(host, port) is None
                else r.get_node(host, port).redis_connection
            )
            assert one.cluster("MYID").decode() == nodes[f"{host}:{port}"]["node_id"]


def test_reading_from_replicas_is_taken_though_there_are_none():
    with Server() as server:
        r = cluster(server, read_from_replicas=True)
        assert r.set("k", "v") and r.get("k") == b"v"


if __name__ == "__main__":
    run(sys.modules[__name__])
