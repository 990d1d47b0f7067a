//! Which operation a request asks for, as IAM names it. Knows the forms of three services' requests,
//! and nothing of what they mean.

/// Where EFS's REST interface begins.
const EFS: &str = "/2015-02-01/";

/// EFS's operations: method, first part of the path, whether something follows it, and the name.
const EFS_OPERATIONS: [(&str, &str, Follows, &str); 11] = [
    ("POST", "access-points", Follows::Nothing, "CreateAccessPoint"),
    ("GET", "access-points", Follows::Nothing, "DescribeAccessPoints"),
    ("DELETE", "access-points", Follows::Id, "DeleteAccessPoint"),
    ("POST", "file-systems", Follows::Nothing, "CreateFileSystem"),
    ("GET", "file-systems", Follows::Nothing, "DescribeFileSystems"),
    ("DELETE", "file-systems", Follows::Id, "DeleteFileSystem"),
    ("POST", "mount-targets", Follows::Nothing, "CreateMountTarget"),
    ("GET", "mount-targets", Follows::Nothing, "DescribeMountTargets"),
    ("GET", "resource-tags", Follows::Id, "ListTagsForResource"),
    ("POST", "resource-tags", Follows::Id, "TagResource"),
    ("DELETE", "resource-tags", Follows::Id, "UntagResource"),
];

#[derive(PartialEq)]
enum Follows {
    Nothing,
    Id,
}

/// `ecs:RunTask`; `None` for what is no operation of these services.
pub(crate) fn name(method: &str, path: &str, target: Option<&str>) -> Option<String> {
    if let Some(target) = target {
        let (service, operation) = target.split_once('.')?;
        return match service {
            "AmazonEC2ContainerServiceV20141113" => Some(format!("ecs:{operation}")),
            "AmazonSSM" => Some(format!("ssm:{operation}")),
            _ => None,
        };
    }
    let path = path.split('?').next()?.strip_prefix(EFS)?.trim_end_matches('/');
    let (first, follows) = match path.split_once('/') {
        Some((first, rest)) if !rest.contains('/') => (first, Follows::Id),
        Some(_) => return None,
        None => (path, Follows::Nothing),
    };
    let (.., operation) = EFS_OPERATIONS
        .iter()
        .find(|(m, f, what, _)| *m == method && *f == first && *what == follows)?;
    Some(format!("elasticfilesystem:{operation}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_have_the_names_that_iam_gives_them() {
        let ecs = Some("AmazonEC2ContainerServiceV20141113.RunTask");
        assert_eq!(name("POST", "/", ecs).as_deref(), Some("ecs:RunTask"));
        let ssm = Some("AmazonSSM.GetParametersByPath");
        assert_eq!(name("POST", "/", ssm).as_deref(), Some("ssm:GetParametersByPath"));
        for (method, path, expected) in [
            ("POST", "access-points", Some("elasticfilesystem:CreateAccessPoint")),
            ("GET", "access-points?MaxResults=1", Some("elasticfilesystem:DescribeAccessPoints")),
            ("DELETE", "access-points/fsap-1", Some("elasticfilesystem:DeleteAccessPoint")),
            ("GET", "file-systems", Some("elasticfilesystem:DescribeFileSystems")),
            ("PUT", "access-points", None),
        ] {
            assert_eq!(name(method, &format!("{EFS}{path}"), None).as_deref(), expected, "{path}");
        }
        assert_eq!(name("POST", "/", Some("DynamoDB_20120810.GetItem")), None);
        assert_eq!(name("GET", "/bucket/key", None), None);
    }
}
