use serde_json::json;

use super::*;
use crate::read::MAX_DEPTH;

fn eval(source: &str) -> Result<bool, Error> {
    Expression::parse(source)?.is_true_of(&json!({}))
}

fn reason(source: &str, object: &Value) -> String {
    Expression::parse(source)
        .unwrap()
        .is_true_of(object)
        .unwrap_err()
        .to_string()
}

#[test]
fn the_language_of_flux_is_there() {
    for source in [
        "1 == 1.0 && 1u == 1 && 2 > 1.5",
        "has({'a': 1}.a) && !has({'a': 1}.b)",
        "[1, 2, 3].exists(x, x == 2) && [1, 2].all(x, x > 0) && [1, 2].exists_one(x, x == 1)",
        "[1, 2, 3].filter(x, x > 1).map(x, x * 2) == [4, 6]",
        "[1, 2, 3].map(x, x > 1, x * 2) == [4, 6]",
        "size('abc') == 3 && [1].size() == 1 && size({'a': 1}) == 1",
        "'abc'.startsWith('a') && 'abc'.endsWith('c') && 'abc'.contains('b') && 'abc'.matches('^a.c$')",
        "'a,b'.split(',') == ['a', 'b'] && ['a', 'b'].join('-') == 'a-b' && ['a'].join() == 'a'",
        "'hello'.replace('l', 'L') == 'heLLo' && 'hello'.replace('l', 'L', 1) == 'heLlo'",
        "'A'.lowerAscii() == 'a' && 'a'.upperAscii() == 'A' && ' a '.trim() == 'a'",
        "'abc'.substring(1) == 'bc' && 'abc'.charAt(1) == 'b' && 'abc'.indexOf('c') == 2",
        "'%s-%d'.format(['a', 1]) == 'a-1'",
        "timestamp('2026-01-01T00:00:00Z') < timestamp('2026-01-02T00:00:00Z')",
        "timestamp('2026-01-02T00:00:00Z') - timestamp('2026-01-01T00:00:00Z') == duration('24h')",
        "timestamp('2026-01-02T03:00:00Z').getHours() == 3",
        "sets.contains([1, 2], [1]) && sets.intersects([1], [1, 2]) && sets.equivalent([1, 1], [1])",
        "base64.encode(b'hello') == 'aGVsbG8=' && string(base64.decode('aGVsbG8=')) == 'hello'",
        "{'a': 1}.?b.orValue(2) == 2 && {'a': 1}[?'a'].hasValue()",
        "optional.of(1).hasValue() && !optional.none().hasValue()",
        "optional.of(1).optMap(x, x + 1).value() == 2",
        "int('5') == 5 && string(5) == '5' && double('1.5') == 1.5 && bool('true')",
        "'a' in ['a'] && 'a' in {'a': 1} && type(1) == int",
        "(1 > 2 ? 'a' : 'b') == 'b'",
        "[{'t': 'a'}, {'x': 1}].exists(c, c.t == 'a')",
    ] {
        assert_eq!(eval(source), Ok(true), "{source}");
    }
}

#[test]
fn errors_are_those_of_flux_and_hold_no_values() {
    let object = json!({"data": {"password": "hunter2"}, "status": {}});
    for (source, expected) in [
        (
            "data.currentt",
            "failed to evaluate the CEL expression 'data.currentt': no such key: currentt",
        ),
        (
            "has(state.observed) && true",
            "failed to evaluate the CEL expression 'has(state.observed) && true': no such attribute(s): state.observed",
        ),
        (
            "spec.a.b == 1",
            "failed to evaluate the CEL expression 'spec.a.b == 1': no such attribute(s): spec.a.b",
        ),
        (
            "data.password",
            "failed to evaluate CEL expression as boolean: 'data.password'",
        ),
    ] {
        assert_eq!(reason(source, &object), expected);
    }
    for source in [
        "data.password > 1",
        "data.password + 1 == 2",
        "int(data.password) == 1",
        "timestamp(data.password) == timestamp(0)",
        "data.password.foo",
        "data[data.password]",
        "['a'][data.password]",
        "{data.password: 1, data.password: 2}.a == 1",
        "data.password.matches('(')",
        "-data.password",
        "data.password && true",
        "data.all(k, data[k] > 3)",
        "duration(data.password) > duration('1s')",
        "data.password.nope()",
        "'%d'.format([data.password]) == ''",
        "data.password.substring(99) == ''",
        "base64.decode(data.password + '~') == b''",
    ] {
        let text = reason(source, &object);
        assert!(!text.contains("hunter2"), "{source}: {text}");
        assert!(text.starts_with("failed to evaluate"), "{source}: {text}");
    }
}

#[test]
fn syntax_errors_say_where() {
    let error = Expression::parse("status.conditions.")
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with(
            "failed to parse the CEL expression 'status.conditions.': ERROR: <input>:1:"
        ),
        "{error}"
    );
}

#[test]
fn a_ready_expression_is_checked_when_it_is_read() {
    let compile = |source| Expression::compile(source, &["self", "dep"]).map(|_| ());
    for source in [
        "dep.status.observedGeneration == dep.metadata.generation",
        "has(dep.metadata.labels) && dep.metadata.labels.all(k, k in self.metadata.labels)",
        "dep.status.conditions.filter(e, e.type == 'Ready').all(e, e.status == 'True') && size(dep.metadata.name) > 0",
        "true ? dep.a == 1 : false",
        "dep.metadata.?labels['v'].hasValue()",
        "!sets.intersects([dep.a], [1])",
    ] {
        assert_eq!(compile(source), Ok(()), "{source}");
    }
    let error = compile("self.a == 1 &&\n other.b == 1")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("ERROR: <input>:2:2: undeclared reference to 'other' (in container '')"),
        "{error}"
    );
    let error = compile("now() == 1").unwrap_err().to_string();
    assert!(error.contains("undeclared reference to 'now'"), "{error}");
    for (source, type_) in [
        ("dep.status.ready", "dyn"),
        ("1 + 1", "int"),
        ("'a'", "string"),
        ("dep.a.map(x, x)", "list(dyn)"),
        ("size(dep.a)", "int"),
    ] {
        assert_eq!(
            compile(source),
            Err(Error::OutputType(type_.to_owned())),
            "{source}"
        );
    }
    assert_eq!(
        Error::OutputType("dyn".to_owned()).to_string(),
        "CEL expression output type mismatch: expected bool, got dyn"
    );
}

#[test]
fn no_expression_runs_away() {
    let object = json!({"l": (0..2000).collect::<Vec<_>>(), "s": "x".repeat(100_000)});
    let doubled = format!("[s]{}.size() == 1", ".map(x, x + x)".repeat(12));
    let nested = "l.all(a, l.all(b, l.all(c, l.all(d, a + b + c + d >= 0))))";
    let blown = "s.replace('', s.replace('', s)).size() == 1";
    let joined = "l.map(x, s).map(x, s).join(s).size() == 1";
    let patterns = "l.all(x, s.matches('((a{100}){100}){100}'))";
    let split = "l.map(x, s.split('')).size() == 1";
    let sets = "l.all(x, sets.contains(l, l))";
    let lists = "l.map(x, l).map(x, [x, x]).map(x, [x, x]).size() == 1";
    for source in [
        &doubled, nested, blown, joined, patterns, split, sets, lists,
    ] {
        let start = std::time::Instant::now();
        let text = reason(source, &object);
        assert!(
            text.ends_with("actual cost limit exceeded"),
            "{source}: {text}"
        );
        assert!(
            start.elapsed().as_secs() < 10,
            "{source} took {:?}",
            start.elapsed()
        );
    }
    // What an exhausted budget refused is not taken for an answer.
    let absorbed = "l.all(a, l.all(b, l.all(c, a == a))) || true";
    assert!(reason(absorbed, &object).ends_with("actual cost limit exceeded"));
    let again = "l.exists(x, x == 1999) && s.contains('x')";
    assert_eq!(
        Expression::parse(again).unwrap().is_true_of(&object),
        Ok(true)
    );
}

#[test]
fn no_expression_is_too_deep_for_the_stack() {
    let deep = [
        format!("{}true{}", "(".repeat(3000), ")".repeat(3000)),
        format!("{}true", "!".repeat(8000)),
        format!("{}1 == 1", "-".repeat(8000)),
        format!("{}true", "a ? b : ".repeat(1000)),
        format!("{}a", "a?".repeat(4000)),
        format!("1{} == 1", " + 1".repeat(2000)),
        format!("a{}", ".a".repeat(4000)),
        format!("a{}", "[0]".repeat(2600)),
        format!("{}1{}", "[".repeat(4000), "]".repeat(4000)),
        format!("{}1{}", "f(".repeat(2600), ")".repeat(2600)),
        format!("true{}", " || true".repeat(1000)),
        "(".repeat(8000),
        "x".repeat(9000),
    ];
    // A worker of the runtime has no more stack than this.
    let thread = std::thread::Builder::new().stack_size(2 * 1024 * 1024);
    let run = move || {
        for source in deep {
            if let Ok(expression) = Expression::parse(&source) {
                let _ = expression.is_true_of(&json!({"a": 1}));
            }
        }
        let most = format!("{}true{}", "(true && !".repeat(20), ")".repeat(20));
        let _ = Expression::parse(&most).map(|expression| expression.is_true_of(&json!({})));
        let members = format!("a{} == 1", ".a".repeat(MAX_DEPTH - 3));
        let mut object = json!(1);
        for _ in 0..MAX_DEPTH - 2 {
            object = json!({"a": object});
        }
        assert_eq!(
            Expression::parse(&members).unwrap().is_true_of(&object),
            Ok(true)
        );
        let sums = format!("1{} == {}", " + 1".repeat(MAX_DEPTH - 3), MAX_DEPTH - 2);
        assert_eq!(
            Expression::parse(&sums).unwrap().is_true_of(&object),
            Ok(true)
        );
    };
    thread.spawn(run).unwrap().join().unwrap();
}
