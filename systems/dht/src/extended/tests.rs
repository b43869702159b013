use super::*;

/// What INCRBYFLOAT makes of a value and an increment; the answers are those of redis-server 7.0.15 on x86-64.
#[track_caller]
fn check(value: &str, increment: &str, expected: &str) {
    let sum = match (Extended::parse(value.as_bytes()), Extended::parse(increment.as_bytes())) {
        (Some(value), Some(increment)) => {
            value.plus(increment).map_or("NaN or Infinity".into(), Extended::text)
        }
        _ => "not a valid float".into(),
    };
    assert_eq!(sum, expected, "{value} + {increment}");
}

#[test]
fn sums_are_those_of_an_x87() {
    check("0", "0.1", "0.1");
    check("0.1", "0.2", "0.3");
    check("3.0e3", "0", "3000");
    check("5e-3", "0", "0.005");
    check("10.5", "0.1", "10.6");
    check("-0.0", "0", "0");
    check("-0.0", "-0.0", "0");
    check("1.5", "-1.5", "0");
    check("3.14159265358979", "-2.25", "0.89159265358979");
    check("1e17", "0.5", "100000000000000000.5");
    check("1e19", "0.5", "10000000000000000000");
    check("9007199254740993", "0", "9007199254740993");
    check("18446744073709551615", "1", "18446744073709551616");
    check("-9223372036854775808", "-1", "-9223372036854775809");
    check("0x1p3", "0x.8", "8.5");
    check("0xA", "0", "10");
    check(".5", "5.", "5.5");
    check("1e-18", "0", "0");
    check("-1e-18", "0", "0");
    check(
        "1e300",
        "0",
        "1000000000000000000008997324079559193870523944273290747938260082321265646596180935755849152083750497190350372508614274835903592556184672983913096260520748646287327135641843653294084255107606016789726652932370030551382947620994540294772781889620606179267611627097410650567187386105690089424915104006144",
    );
}

#[test]
fn what_is_no_number_or_too_large_is_refused() {
    for text in [
        "", " 1", "1 ", "1,5", "abc", "1e", "1e+", "0x", "nan", ".", "-", "--1", "1e5000", "-1e5000",
        "1e-5000", "infin",
    ] {
        check(text, "0", "not a valid float");
    }
    check("inf", "1", "NaN or Infinity");
    check("-inf", "inf", "NaN or Infinity");
    check("1.1e4932", "1.1e4932", "NaN or Infinity");
    check("0e99999999999999999999", "0", "0");
    assert_eq!(Extended::parse(&[b'1'; TEXT_MAX + 1]), None);
    assert!(Extended::parse(&[&[b'0'; TEXT_MAX - 1][..], b"7"].concat()).is_some());
}

#[test]
fn a_text_is_read_to_the_nearest_number_whatever_its_length() {
    let long = format!("{}{}", "0.1", "0".repeat(4000));
    check(&long, "0", "0.1");
    let just_over_half = format!("18446744073709551616{}1", ".5".to_owned() + &"0".repeat(3000));
    check(&just_over_half, "0", "18446744073709551616");
    check("36893488147419103234", "0", "36893488147419103232");
    check("36893488147419103234.1", "0", "36893488147419103236");
    check("36893488147419103235", "0", "36893488147419103236");
}
