"""The dashboard, as CloudWatch takes one: it refuses a body of another form, and the whole apply with it."""

import json
import unittest

from deployment import applied


class Dashboard(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        deployment = applied()
        ((_, dashboard),) = deployment.all("aws_cloudwatch_dashboard")
        cls.file_systems = deployment.outputs["efs__file_systems"]
        cls.widgets = {
            widget["properties"]["title"]: widget["properties"]["metrics"]
            for widget in json.loads(dashboard["dashboard_body"])["widgets"]
        }

    def test_every_line_of_every_graph_is_a_metric(self):
        self.assertTrue(self.widgets)
        for title, lines in self.widgets.items():
            self.assertTrue(lines, title)
            for line in lines:
                self.assertIsInstance(line, list, title)
                *names, shown = line
                self.assertIsInstance(shown, dict, title)
                # Namespace, name, and dimensions by name and value.
                self.assertTrue(len(names) >= 2 and len(names) % 2 == 0, f"{title}: {names}")
                self.assertTrue(all(isinstance(name, str) and name for name in names), f"{title}: {names}")

    def test_every_file_system_is_on_it(self):
        shown = {line[3] for line in self.widgets["Files: mounts and bytes"]}
        self.assertEqual(shown, set(self.file_systems))


if __name__ == "__main__":
    unittest.main()
