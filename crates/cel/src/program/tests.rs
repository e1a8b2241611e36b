use std::sync::Mutex;

use serde_json::json;

use super::*;
use crate::{
    Authorizer, Decision, Object, Question, Subject,
    types::{Field, Type},
};

fn environment() -> Environment {
    let spec = Object::new(
        "spec",
        [
            ("replicas", Type::Int),
            ("names", Type::list(Type::String)),
            ("ratio", Type::Double),
            ("since", Type::Timestamp),
            ("x-y", Type::String),
        ],
    );
    assert_eq!(
        spec.fields["x__dash__y"],
        Field {
            key: "x-y".to_owned(),
            kind: Type::String
        }
    );
    Environment::default()
        .with("self", Type::Object(spec.into()))
        .with("object", Type::Dyn)
        .with(
            "authorizer",
            Type::Opaque("kubernetes.authorization.Authorizer"),
        )
        .with(
            "authorizer.requestResource",
            Type::Opaque("kubernetes.authorization.ResourceCheck"),
        )
}

fn output(source: &str) -> Result<String, String> {
    let program = environment().compile(source)?;
    Ok(program.output().output_name())
}

#[test]
fn types_are_found() {
    for (source, kind) in [
        ("self.replicas > 1 && self.ratio < 2", "bool"),
        ("self.names.map(n, size(n))", "list(int)"),
        ("self.names.filter(n, n != 'x')", "list(string)"),
        ("self.?x__dash__y.orValue('')", "string"),
        ("object.spec.x", "dyn"),
        ("{'a': [1, 2]}", "map(string, list(int))"),
        ("[]", "list(dyn)"),
        ("[] + [1]", "list(int)"),
        ("true ? self.since : null", "google.protobuf.Timestamp"),
        ("self.names[?0]", "optional_type(string)"),
        ("self.names.sum", "!"),
        ("object.items.all(i, i.x in self.names)", "bool"),
        ("object.a + 1", "int"),
        ("type(1) == int", "bool"),
        ("self.since - self.since", "google.protobuf.Duration"),
        ("quantity('1Gi').isGreaterThan(quantity('1Mi'))", "bool"),
        ("ip('10.0.0.1').family()", "int"),
        (
            "authorizer.group('').resource('pods').check('get').allowed()",
            "bool",
        ),
        ("authorizer.requestResource.check('get').reason()", "string"),
        ("sets.contains(self.names, ['a'])", "bool"),
    ] {
        match output(source) {
            Ok(found) => assert_eq!(found, kind, "{source}"),
            Err(error) => assert_eq!(kind, "!", "{source}: {error}"),
        }
    }
}

#[test]
fn what_is_wrong_is_told_as_kubernetes_tells_it() {
    for (source, error) in [
        (
            "self.replica > 1",
            "ERROR: <input>:1:5: undefined field 'replica'\n | self.replica > 1\n | ....^",
        ),
        (
            "other == 1 && nope",
            "ERROR: <input>:1:1: undeclared reference to 'other' (in container '')\n | other == 1 && nope\n | ^\nERROR: <input>:1:15: undeclared reference to 'nope' (in container '')\n | other == 1 && nope\n | ..............^",
        ),
        (
            "self.replicas + 'a' == 'b'",
            "ERROR: <input>:1:15: found no matching overload for '_+_' applied to '(int, string)'\n | self.replicas + 'a' == 'b'\n | ..............^",
        ),
        (
            "self.names.foo",
            "ERROR: <input>:1:11: type 'list(string)' does not support field selection\n | self.names.foo\n | ..........^",
        ),
        (
            "[1, 'a']",
            "ERROR: <input>:1:5: expected type 'int' but found 'string'\n | [1, 'a']\n | ....^",
        ),
        (
            "self.replicas.all(x, true)",
            "ERROR: <input>:1:5: expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)\n | self.replicas.all(x, true)\n | ....^",
        ),
        (
            "self.names.startsWith('a')",
            "ERROR: <input>:1:22: found no matching overload for 'startsWith' applied to 'list(string).(string)'\n | self.names.startsWith('a')\n | .....................^",
        ),
        (
            "duration('soon') == duration('1s')",
            "ERROR: <input>:1:10: invalid duration argument\n | duration('soon') == duration('1s')\n | .........^",
        ),
    ] {
        assert_eq!(
            environment().compile(source).unwrap_err(),
            error,
            "{source}"
        );
    }
}

fn run(source: &str, variables: &Variables) -> Result<Answer, Failure> {
    environment()
        .compile(source)
        .unwrap_or_else(|error| panic!("{source}: {error}"))
        .run(variables, &mut Budget::default())
}

#[test]
fn values_have_the_types_that_their_schemas_say() {
    let kind = environment().variables["self"].clone();
    let json = json!({"replicas": 3.0, "ratio": 2, "since": "2026-01-01T00:00:00Z", "x-y": "z", "names": ["b", "a"]});
    let variables = Variables::default().with("self", Value::typed(&json, &kind));
    for source in [
        "self.replicas == 3 && type(self.replicas) == int && type(self.ratio) == double",
        "self.since < timestamp('2026-01-02T00:00:00Z') && self.x__dash__y == 'z'",
        "!self.names.isSorted() && self.names.min() == 'a' && self.names.indexOf('a') == 1",
        "[1, 2, 3].sum() == 6 && [1, 3, 2].max() == 3 && [[1], [2]].flatten() == [1, 2]",
        "'abc 123'.find('[0-9]+') == '123' && 'a1b2'.findAll('[0-9]') == ['1', '2']",
        "quantity('1.5').add(quantity('500m')).asInteger() == 2 && isQuantity('1Ki') && !isQuantity('x')",
        "cidr('10.0.0.0/8').containsIP('10.1.2.3') && !cidr('10.0.0.0/8').containsIP(ip('11.0.0.1'))",
        "string(cidr('10.1.2.3/8').masked()) == '10.0.0.0/8' && ip.isCanonical('::1')",
        "url('https://a.b:8443/c?d=e').getHost() == 'a.b:8443' && url('https://a.b:8443/c?d=e').getQuery()['d'] == ['e']",
        "isURL('/path') && !isURL('../path') && url('https://[::1]:80/').getHostname() == '::1'",
        "lists.range(3) == [0, 1, 2] && [3, 1, 2].sort() == [1, 2, 3] && ['a', 'a'].distinct() == ['a']",
    ] {
        assert_eq!(run(source, &variables), Ok(Answer::Bool(true)), "{source}");
    }
    for (source, why) in [
        ("self.names[5] == 'a'", "index out of bounds: 5"),
        ("object.missing == 1", "no such key: missing"),
        ("object.x / 0 == 1", "division by zero"),
        ("object.x + 'a' == 'b'", "no such overload"),
        (
            "ip('x') == ip('y')",
            "IP Address \"x\" parse error during conversion from string: ParseAddr(\"x\"): unable to parse IP",
        ),
    ] {
        let variables = variables
            .clone()
            .with("object", Value::of(&json!({"x": 1})));
        assert_eq!(
            run(source, &variables),
            Err(Failure::Evaluation(why.to_owned())),
            "{source}"
        );
    }
}

#[derive(Default)]
struct Asked(Mutex<Vec<Question>>);

impl Authorizer for Asked {
    fn decide(&self, question: &Question) -> Decision {
        self.0.lock().unwrap().push(question.clone());
        Decision {
            allowed: question.verb == "get",
            reason: "because".to_owned(),
        }
    }
}

#[test]
fn authorizers_are_asked() {
    let asked = Arc::new(Asked::default());
    let pods = Subject::Resource {
        group: String::new(),
        resource: "pods".to_owned(),
        subresource: "status".to_owned(),
        namespace: "ns".to_owned(),
        name: "p".to_owned(),
    };
    let variables = Variables::default()
        .with("authorizer", Value::authorizer(asked.clone()))
        .with(
            "authorizer.requestResource",
            Value::resource_check(asked.clone(), pods.clone()),
        );
    let source = "authorizer.group('').resource('pods').subresource('status').namespace('ns').name('p').check('get').allowed()
        && !authorizer.serviceAccount('ns', 'robot').path('/healthz').check('post').allowed()
        && authorizer.requestResource.check('get').reason() == 'because'";
    assert_eq!(run(source, &variables), Ok(Answer::Bool(true)));
    let asked = asked.0.lock().unwrap();
    assert_eq!(asked[0].subject, pods);
    assert_eq!(
        asked[1],
        Question {
            service_account: Some(("ns".to_owned(), "robot".to_owned())),
            subject: Subject::Path("/healthz".to_owned()),
            verb: "post".to_owned(),
        }
    );
    assert_eq!(asked[2].subject, pods);
    for (source, why) in [
        (
            "authorizer.group('').resource(' ').check('get').allowed()",
            "resource must not be empty",
        ),
        (
            "authorizer.path('').check('get').allowed()",
            "path must not be empty",
        ),
        (
            "authorizer.serviceAccount('a', 'B').path('/').check('get').allowed()",
            "Invalid service account name",
        ),
    ] {
        assert_eq!(
            run(source, &variables),
            Err(Failure::Evaluation(why.to_owned())),
            "{source}"
        );
    }
}

#[test]
fn composed_variables_are_evaluated_when_they_are_used() {
    let environment = environment().with("variables", Type::Dyn);
    let compile = |source: &str| environment.compile(source);
    let fields = vec![
        ("two".to_owned(), compile("object.one + 1")),
        ("four".to_owned(), compile("variables.two * 2")),
        ("broken".to_owned(), compile("object.missing")),
        ("looped".to_owned(), compile("variables.looped")),
    ];
    let variables = Variables::default()
        .with("object", Value::of(&json!({"one": 1})))
        .with_composed("variables", fields);
    let run = |source: &str| {
        compile(source)
            .unwrap()
            .run(&variables, &mut Budget::default())
    };
    assert_eq!(run("variables.four == 4"), Ok(Answer::Bool(true)));
    assert_eq!(run("false && variables.broken"), Ok(Answer::Bool(false)));
    assert_eq!(
        run("variables.broken"),
        Err(Failure::Evaluation(
            "composited variable \"broken\" fails to evaluate: no such key: missing".to_owned()
        ))
    );
    assert!(run("variables.looped").is_err());
}

#[test]
fn a_budget_is_shared() {
    let list = Value::of(&json!((0..500).collect::<Vec<_>>()));
    let variables = Variables::default().with("object", list);
    let program = environment()
        .compile("object.all(a, object.exists(b, b == a))")
        .unwrap();
    let mut budget = Budget::default();
    let endless = environment()
        .compile("object.all(a, object.all(b, object.all(c, c + 1 > 0)))")
        .unwrap();
    assert_eq!(
        endless.run(&variables, &mut budget),
        Err(Failure::Exhausted)
    );
    for _ in 0..20 {
        let _ = program.run(&variables, &mut budget);
        let _ = endless.run(&variables, &mut budget);
    }
    assert!(budget.is_spent());
}
