"""Alarms: those on what gateways write to their log look for what the code writes, and each has its place in the
operators' manual."""

import re
import unittest

from deployment import ROOT, applied

MANUAL = ROOT / "docs" / "operations.md"


def texts_of(pattern):
    """What a filter looks for: the texts in it, its fields and AWS's own words left out."""
    return [text for text in re.findall(r'"([^"]+)"', pattern) if text not in ("ERROR", "BLOCK")]


class Alarms(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.deployment = applied()
        cls.prefix = cls.deployment.outputs["ecs__family"].removesuffix("session")
        alarms = cls.deployment.all("aws_cloudwatch_metric_alarm")
        cls.names = [one["alarm_name"].removeprefix(cls.prefix) for _, one in alarms]

    def test_what_a_log_is_searched_for_stands_in_the_code(self):
        code = "\n".join(
            path.read_text() for crate in ("gateway", "infra") for path in (ROOT / crate / "src").rglob("*.rs")
        )
        filters = self.deployment.all("aws_cloudwatch_log_metric_filter")
        self.assertTrue(filters)
        # A text may be broken over lines there.
        plain = re.sub(r"\\\n\s*", "", code)
        missing = [text for _, one in filters for text in texts_of(one["pattern"]) if text not in plain]
        self.assertEqual(missing, [])

    def test_every_alarm_tells_somebody_and_says_what_it_means(self):
        for address, alarm in self.deployment.all("aws_cloudwatch_metric_alarm"):
            self.assertTrue(alarm["alarm_actions"], address)
            self.assertGreater(len(alarm["alarm_description"]), 20, address)

    def test_the_manual_has_every_alarm_and_no_other(self):
        chapter = MANUAL.read_text().split("\n## Alarms\n")[1].split("\n## ")[0]
        rows = re.findall(r"^\| `([a-z0-9-]+)` \|", chapter, re.MULTILINE)
        # A file system's name is the deployment's own.
        names = {re.sub(r"^volumes-.*-throughput$", "volumes-throughput", name) for name in self.names}
        self.assertEqual(sorted(rows), sorted(names))


if __name__ == "__main__":
    unittest.main()
