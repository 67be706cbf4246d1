#!/usr/bin/env python3
"""Answers terraform for the AWS provider, over its plugin protocol (version 5) on loopback, from schema.json alone.

In: a port. Out: `terraform validate` and `terraform test` with mocks work where no registry can be reached. It knows names, types, which are
required and which are nested. It does not know values, conflicts, or AWS: docs/ec2.md, "Terraform".
"""

import json
import pathlib
import sys
from concurrent import futures

import grpc
import tf5_pb2 as tf5

NESTING = {"single": 1, "list": 2, "set": 3, "map": 4}
RESOURCES = json.loads((pathlib.Path(__file__).parent / "schema.json").read_text())
ID = {"type": '"string"', "required": False, "optional": True, "computed": True}


def block(described):
    out = tf5.Schema.Block()
    for name, a in described["attributes"].items():
        flags = {key: a[key] for key in ("required", "optional", "computed")}
        out.attributes.add(name=name, type=a["type"].encode(), **flags)
    for name, nested in described["blocks"].items():
        most = nested["max"] if nested["nesting"] in ("list", "set") else 0
        out.block_types.add(type_name=name, nesting=NESTING[nested["nesting"]], max_items=most).block.CopyFrom(block(nested["block"]))
    return out


def schema(_request, _context):
    out = tf5.SchemaResp()
    out.provider.block.attributes.add(name="region", type=b'"string"', optional=True)
    for name, described in RESOURCES.items():
        described["attributes"].setdefault("id", ID)
        out.resource_schemas[name].block.CopyFrom(block(described))
    return out


CALLS = {
    "GetSchema": (tf5.Empty, schema),
    "PrepareProviderConfig": (tf5.CfgReq, lambda r, _: tf5.PrepResp(prepared_config=r.config)),
    "ValidateResourceTypeConfig": (tf5.TypedCfg, lambda r, _: tf5.Diags()),
    "ValidateDataSourceConfig": (tf5.TypedCfg, lambda r, _: tf5.Diags()),
    "Configure": (tf5.TypedCfg, lambda r, _: tf5.Diags()),
    "PlanResourceChange": (tf5.PlanReq, lambda r, _: tf5.PlanResp(planned_state=r.proposed_new_state)),
    "ApplyResourceChange": (tf5.ApplyReq, lambda r, _: tf5.ApplyResp(new_state=r.planned_state)),
    "Stop": (tf5.Empty, lambda r, _: tf5.Empty()),
}


class Handler(grpc.GenericRpcHandler):
    def service(self, details):
        found = CALLS.get(details.method.split("/")[-1])
        if found is None:
            return None
        request, answer = found
        return grpc.unary_unary_rpc_method_handler(answer, request.FromString, lambda message: message.SerializeToString())


if __name__ == "__main__":
    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((Handler(),))
    port = server.add_insecure_port(f"127.0.0.1:{sys.argv[1] if len(sys.argv) > 1 else 0}")
    server.start()
    print(port, flush=True)
    server.wait_for_termination()
