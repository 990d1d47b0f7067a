"""Alarms: those on what gateways write to their log look for what the code writes there, and each has its place in
the operators' manual."""

import re
import unittest

from deployment import ROOT, applied

MANUAL = ROOT / "docs" / "operations.md"

# What writes a line that the deployment's filter (`log.filter`) lets through: tracing from `warn` up, and the audit.
WRITES = re.compile(r"\b(?:warn!|error!|note|record)\(")
TEXT = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)

# Words of an error are written by who logs it: a line that has the error as a field, by its message.
WORDS_OF_ERRORS = {
    "role must be allowed": "a start failed",
    "AWS takes no more calls for now": "AWS is asked for more than it takes",
}


def product(code):
    """Rust code without comments and tests, and with texts in one piece that are broken over lines."""
    code = code.split("#[cfg(test)]\nmod tests {")[0]
    code = "\n".join(line for line in code.splitlines() if not line.lstrip().startswith("//"))
    return re.sub(r"\\\n\s*", "", code)


def written(code):
    """Every call that writes a line, with all that stands between its brackets."""
    for found in WRITES.finditer(code):
        end, depth = found.end(), 1
        while depth:
            text = TEXT.match(code, end)
            depth += 0 if text else {"(": 1, ")": -1}.get(code[end], 0)
            end = text.end() if text else end + 1
        yield code[found.end() : end - 1]


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

    def test_what_a_log_is_searched_for_is_written_there(self):
        files = [path for crate in ("gateway", "infra") for path in (ROOT / crate / "src").rglob("*.rs")]
        code = "\n".join(product(path.read_text()) for path in files if path.name != "tests.rs")
        lines = list(written(code))
        filters = self.deployment.all("aws_cloudwatch_log_metric_filter")
        texts = [text for _, one in filters for text in texts_of(one["pattern"])]
        self.assertTrue(texts)
        for text in texts:
            line = WORDS_OF_ERRORS.get(text)
            if line:
                self.assertIn(text, code, "no error has such words")
                found = [one for one in lines if f'"{line}"' in one and "%error" in one]
            else:
                found = [one for one in lines if text in one]
            self.assertTrue(found, f"nobody writes {text!r} to the log")

    def test_a_text_in_a_comment_a_test_or_a_line_for_debugging_is_not_written(self):
        code = '''
            // tracing::warn!("in a comment");
            tracing::debug!(%error, "for debugging");
            tracing::warn!(count = names.len(), "of (about) {MOST}: \\
                add one");
            self.note(None, "user.removed", detail).await;
            #[cfg(test)]
            mod tests {
                fn f() { tracing::warn!("in a test"); }
            }
        '''
        code = "\n".join(line.removeprefix(" " * 12) for line in code.splitlines())
        self.assertEqual(
            list(written(product(code))),
            ['count = names.len(), "of (about) {MOST}: add one"', 'None, "user.removed", detail'],
        )

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
