//! The picture of what a closed loop does not see: a server that is silent for 200 ms of every 2 s, asked by loadgen
//! at a fixed rate and by redis-benchmark, whose connections each meet a silence once and ask nothing meanwhile. The
//! server is ours and small, so that what is true is known by arithmetic: of requests that come evenly, one in ten comes
//! in a silence, and waits for what is left of it.

use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// From one silence to the next.
const EACH: Duration = Duration::from_secs(2);
/// How long each lasts.
const SILENT: Duration = Duration::from_millis(200);
/// What loadgen is asked to do.
const LOAD: &str = "--no-load --mix get=1 -c 20 --rate 1000 -d 30s --seed 1";
/// What redis-benchmark is asked to do, in about the same time.
const CLOSED: &str = "-c 20 -n 500000 GET k000000000000001";

/// A distribution: quantiles and ms.
type Points = Vec<(f64, f64)>;

/// What was found: the text for people, the picture, all numbers.
pub(super) struct Found {
    pub(super) text: String,
    pub(super) picture: String,
    pub(super) json: Value,
}

/// Measures both.
pub(super) fn measure(loadgen: &Path) -> Result<Found, String> {
    let target = serve().map_err(|error| format!("no server can be made: {error}"))?;
    let out = std::env::temp_dir().join(format!("bench-stall-{}", std::process::id()));
    let said = run(Command::new(loadgen)
        .args(["run", &format!("resp://{target}")])
        .args(LOAD.split_whitespace())
        .arg("--out")
        .arg(&out))?;
    let read =
        |name: &str| std::fs::read_to_string(out.join(name)).map_err(|error| format!("{name}: {error}"));
    let ours = hgrm(&read("response.hgrm")?);
    let mut run_json: Value = serde_json::from_str(&read("run.json")?).map_err(|error| error.to_string())?;
    // Its folder and the server's port are of this run alone.
    run_json["command"] = format!("loadgen run resp://SERVER {LOAD}").into();
    let _ = std::fs::remove_dir_all(&out);
    let port = target.port().to_string();
    let closed = run(Command::new("redis-benchmark")
        .args(["-h", "127.0.0.1", "-p", &port])
        .args(CLOSED.split_whitespace()))?;
    let closed = percentiles(&closed);
    if ours.is_empty() || closed.is_empty() {
        return Err("a distribution has no rows".to_owned());
    }
    let truth: Points = (0..=400).map(|step| true_at(1.0 - 10_f64.powf(-f64::from(step) / 100.0))).collect();
    let lines = [("what is true", &truth), ("loadgen", &ours), ("redis-benchmark", &closed)];
    let mut text = format!(
        "A server that is silent for {} ms of every {} ms. loadgen: `{LOAD}`; redis-benchmark: `{CLOSED}`.\n\n\
         | ms | p50 | p90 | p99 | p99.9 | max |\n|---|--:|--:|--:|--:|--:|\n",
        SILENT.as_millis(),
        EACH.as_millis()
    );
    for (name, points) in lines {
        let _ = write!(text, "| {name} |");
        for quantile in [0.5, 0.9, 0.99, 0.999, 1.0] {
            let _ = write!(text, " {:.1} |", at(points, quantile));
        }
        text.push('\n');
    }
    let verdict = said.lines().rev().find(|line| !line.is_empty()).unwrap_or_default();
    let _ = writeln!(text, "\nloadgen's verdict: {verdict}");
    let json = json!({"loadgen": run_json, "quantile_ms": lines.map(|(name, points)| json!({"of": name, "points": points}))});
    Ok(Found { text, picture: drawn(&lines), json })
}

fn run(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name} cannot be run: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// What somebody waits at this quantile who comes at an even rate, ms.
fn true_at(quantile: f64) -> (f64, f64) {
    let share = SILENT.as_secs_f64() / EACH.as_secs_f64();
    let within = (quantile - (1.0 - share)).max(0.0) / share;
    (quantile, within * SILENT.as_secs_f64() * 1e3)
}

/// The least value at this quantile or over.
fn at(points: &Points, quantile: f64) -> f64 {
    let found = points.iter().find(|point| point.0 >= quantile).or(points.last());
    found.map_or(0.0, |point| point.1)
}

/// The rows of HdrHistogram's text: ms and quantile.
fn hgrm(text: &str) -> Points {
    let row = |line: &str| {
        let mut words = line.split_whitespace().map(str::parse::<f64>);
        let (value, quantile) = (words.next()?.ok()?, words.next()?.ok()?);
        Some((quantile, value))
    };
    text.lines().filter_map(row).collect()
}

/// The rows of redis-benchmark: `99.902% <= 1.207 milliseconds (cumulative count 199804)`, the first list of two.
fn percentiles(text: &str) -> Points {
    let row = |line: &str| {
        let (percent, rest) = line.split_once("% <= ")?;
        let value = rest.split_whitespace().next()?;
        Some((percent.trim().parse::<f64>().ok()? / 100.0, value.parse().ok()?))
    };
    let list = text.split("Latency by percentile distribution").nth(1).unwrap_or_default();
    list.lines().skip(1).map_while(row).collect()
}

/// A server that knows no key. One thread a connection.
fn serve() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let began = Instant::now();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream, began));
        }
    });
    Ok(address)
}

fn answer(mut stream: TcpStream, began: Instant) {
    let _ = stream.set_nodelay(true);
    let (mut heard, mut chunk) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = stream.read(&mut chunk) {
        heard.extend_from_slice(&chunk[..count]);
        let mut replies = Vec::new();
        while let Some((used, reply)) = whole(&heard) {
            heard.drain(..used);
            replies.extend_from_slice(reply);
        }
        let within = Duration::from_nanos((began.elapsed().as_nanos() % EACH.as_nanos()) as u64);
        thread::sleep(SILENT.saturating_sub(within));
        if stream.write_all(&replies).is_err() {
            return;
        }
    }
}

/// The length of the first whole request, an array of bulk strings, and its answer.
fn whole(bytes: &[u8]) -> Option<(usize, &'static [u8])> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, _) = text.split_once("\r\n")?;
    let elements: usize = head.strip_prefix('*')?.parse().ok()?;
    let mut at = head.len() + 2;
    for _ in 0..elements {
        let (length, _) = text.get(at..)?.split_once("\r\n")?;
        at += length.len() + 2 + length.strip_prefix('$')?.parse::<usize>().ok()? + 2;
    }
    let words = text.get(..at)?;
    let reply: &[u8] = match (elements, words.contains("GET")) {
        (1, _) => b"+PONG\r\n",
        (_, true) if !words.contains("CONFIG") => b"$-1\r\n",
        _ => b"-ERR unknown\r\n",
    };
    Some((at, reply))
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 40.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 46.0;
/// Across: as many nines.
const NINES: f64 = 4.0;
/// Upwards, ms.
const MOST: f64 = 220.0;

/// The lines as SVG: ms over percentiles, each nine as wide as the one before.
fn drawn(lines: &[(&str, &Points)]) -> String {
    let x = |quantile: f64| {
        let nines = -(1.0 - quantile).max(10_f64.powf(-NINES)).log10();
        LEFT + nines / NINES * (WIDTH - LEFT - RIGHT)
    };
    let y = |ms: f64| HEIGHT - BOTTOM - ms.min(MOST) / MOST * (HEIGHT - TOP - BOTTOM);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"13\" fill=\"#777\">\n<title>Response times of a server that is silent for 200 ms of every 2 s</title>\n"
    );
    for ms in [0.0, 50.0, 100.0, 150.0, 200.0] {
        let (right, at) = (WIDTH - RIGHT, y(ms));
        let _ = writeln!(
            text,
            "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#999\" stroke-width=\"0.4\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{ms} ms</text>",
            LEFT - 6.0,
            at + 4.0
        );
    }
    for (quantile, name) in
        [(0.0, "0"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"), (0.9999, "99.99 %")]
    {
        let (at, floor) = (x(quantile), HEIGHT - BOTTOM + 18.0);
        let _ = writeln!(text, "<text x=\"{at:.1}\" y=\"{floor}\" text-anchor=\"middle\">{name}</text>");
    }
    let middle = (LEFT + WIDTH - RIGHT) / 2.0;
    let _ = writeln!(
        text,
        "<text x=\"{middle}\" y=\"{:.1}\" text-anchor=\"middle\">of all requests were answered within</text>",
        HEIGHT - 8.0
    );
    let looks = [("#999", "6", "1"), ("#2563c9", "2.5", "1"), ("#d9822b", "2.5", "1")];
    for (at, ((name, points), (colour, width, opacity))) in lines.iter().zip(looks).enumerate() {
        let points: Vec<String> =
            points.iter().map(|(quantile, ms)| format!("{:.1},{:.1}", x(*quantile), y(*ms))).collect();
        let _ = writeln!(
            text,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" stroke-opacity=\"{opacity}\" \
             points=\"{}\"/>\n<text x=\"{:.1}\" y=\"22\" fill=\"{colour}\">— {name}</text>",
            points.join(" "),
            LEFT + 150.0 * at as f64
        );
    }
    text + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_true_is_arithmetic() {
        let near = |quantile: f64, ms: f64| (true_at(quantile).1 - ms).abs() < 1e-6;
        assert!(
            near(0.5, 0.0) && near(0.9, 0.0) && near(0.99, 180.0) && near(0.999, 198.0) && near(1.0, 200.0)
        );
    }

    #[test]
    fn distributions_are_read() {
        let text = "x\nLatency by percentile distribution:\n0.000% <= 0.031 milliseconds (cumulative count 1)\n\
                    99.902% <= 1.207 milliseconds (cumulative count 9)\n\nCumulative distribution of latencies:\n\
                    100.000% <= 9.1 milliseconds (cumulative count 9)\n";
        assert_eq!(percentiles(text), [(0.0, 0.031), (0.99902, 1.207)]);
        assert_eq!(hgrm("Value Percentile\n\n 1.5 0.9 3 10\n#[Mean = 1]\n"), [(0.9, 1.5)]);
        assert_eq!(whole(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*1").map(|(used, _)| used), Some(20));
    }
}
