"""Who can reach whom, by the rules and routes that there are in the end, wherever they were written."""

import unittest

from deployment import applied

SIDES = ("ingress", "egress")


class Reach(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.deployment = applied()
        cls.groups = {one["id"]: one["name"].split("-", 1)[1] for _, one in cls.deployment.all("aws_security_group")}
        (cls.layers,) = [
            one["prefix_list_id"]
            for _, one in cls.deployment.all("aws_vpc_endpoint")
            if one["vpc_endpoint_type"] == "Gateway"
        ]

    def peer(self, rule):
        """The other end of a rule: a group's name, image layers, or a network."""
        (peer,) = [
            rule[key]
            for key in ("referenced_security_group_id", "prefix_list_id", "cidr_ipv4", "cidr_ipv6")
            if rule.get(key)
        ]
        return "layers" if peer == self.layers else self.groups.get(peer, peer)

    def rules(self, side, group):
        """`(peer, port)` of every rule of a group."""
        found = set()
        for address, rule in self.deployment.all(f"aws_vpc_security_group_{side}_rule"):
            if self.groups[rule["security_group_id"]] == group:
                self.assertEqual((rule["ip_protocol"], rule["from_port"]), ("tcp", rule["to_port"]), address)
                found.add((self.peer(rule), rule["from_port"]))
        return found

    def test_rules_are_written_in_one_way(self):
        self.assertTrue(self.groups)
        self.assertEqual(self.deployment.all("aws_security_group_rule"), [])
        for kind in ("aws_security_group", "aws_default_security_group"):
            for address, group in self.deployment.all(kind):
                self.assertEqual([group[side] for side in SIDES], [[], []], address)
        for address, table in self.deployment.all("aws_route_table"):
            self.assertEqual(table["route"], [], address)

    def test_tasks_reach_their_gateway_their_files_images_and_logs_and_nobody_reaches_them(self):
        reached = {("task-balancer", 7802), ("volumes", 2049), ("endpoints", 443), ("layers", 443)}
        self.assertEqual(self.rules("egress", "tasks"), reached)
        self.assertEqual(self.rules("ingress", "tasks"), set())

    def test_the_listener_for_tasks_is_reached_from_tasks_only(self):
        self.assertEqual(self.rules("ingress", "task-balancer"), {("tasks", 7802)})
        self.assertEqual(self.rules("egress", "task-balancer"), {("gateway", 7802), ("gateway", 7801)})
        self.assertEqual(
            self.rules("ingress", "gateway"),
            {
                ("balancer", 7800),
                ("balancer", 7801),
                ("task-balancer", 7802),
                ("task-balancer", 7801),
                ("gateway", 7803),
            },
        )

    def test_gateways_alone_reach_the_listener_for_other_gateways(self):
        port = int(self.deployment.outputs["listen__peer"].rsplit(":", 1)[1])
        for side in SIDES:
            ends = [(group, rule) for group in self.groups.values() for rule in self.rules(side, group)]
            found = [(group, other) for group, (other, to) in ends if to == port]
            self.assertEqual(found, [("gateway", "gateway")], side)

    def test_files_rows_and_endpoints_are_reached_by_who_needs_them(self):
        self.assertEqual(self.rules("ingress", "volumes"), {("tasks", 2049)})
        self.assertEqual(self.rules("ingress", "database"), {("gateway", 5432)})
        self.assertEqual(self.rules("ingress", "endpoints"), {("tasks", 443), ("gateway", 443)})
        self.assertEqual(self.rules("ingress", "gateway-endpoints"), {("gateway", 443)})
        for silent in ("volumes", "database", "endpoints", "gateway-endpoints"):
            self.assertEqual(self.rules("egress", silent), set(), silent)

    def test_gateways_and_the_public_balancer_alone_deal_with_the_outside(self):
        reached = {(group, 443) for group in ("endpoints", "gateway-endpoints", "layers", "0.0.0.0/0")}
        self.assertEqual(self.rules("egress", "gateway"), reached | {("database", 5432), ("gateway", 7803)})
        self.assertEqual(self.rules("ingress", "balancer"), {("0.0.0.0/0", 443), ("0.0.0.0/0", 80)})
        self.assertEqual(self.rules("egress", "balancer"), {("gateway", 7800), ("gateway", 7801)})

    def test_routes_lead_out_of_public_and_gateways_subnets_only(self):
        tables = {one["id"]: address.split("[")[0] for address, one in self.deployment.all("aws_route_table")}
        led = {tables[one["route_table_id"]] for _, one in self.deployment.all("aws_route")}
        self.assertEqual(led, {"module.network.aws_route_table.public", "module.network.aws_route_table.gateway"})
        of_subnet = {
            one["subnet_id"]: tables[one["route_table_id"]]
            for _, one in self.deployment.all("aws_route_table_association")
        }
        subnets = self.deployment.all("aws_subnet")
        self.assertTrue(subnets)
        for address, subnet in subnets:
            kind = address.split("[")[0].split(".")[-1]
            self.assertEqual(of_subnet.get(subnet["id"]), f"module.network.aws_route_table.{kind}", address)

    def test_tasks_are_in_the_tasks_subnets_with_the_tasks_group(self):
        outputs = self.deployment.outputs
        subnets = [one["id"] for address, one in self.deployment.all("aws_subnet") if ".tasks[" in address]
        self.assertEqual(sorted(outputs["ecs__subnets"]), sorted(subnets))
        self.assertEqual([self.groups[group] for group in outputs["ecs__security_groups"]], ["tasks"])


if __name__ == "__main__":
    unittest.main()
