//! What a command sees and may do, one word an experiment: the harmless ones, and what hostile programs try.

use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let rest = &args[2.min(args.len())..];
    match args.get(1).map_or("", String::as_str) {
        "world" => world(&args),
        "files" => files(),
        "copy" => copy(&rest[0], &rest[1]),
        "exit" => exit(&rest[0]),
        "panic" => panic!("on purpose"),
        "stdout" => loop {
            io::stdout().write_all(&[b'x'; 4096])?;
        },
        "tmp" => {
            let mut file = fs::File::create("/tmp/huge")?;
            loop {
                file.write_all(&[0; 65536])?;
            }
        }
        "sparse" => fs::File::create("/out/huge")?.set_len(1 << 50),
        "handles" => {
            let open: Result<Vec<_>, _> = (0..1_000_000).map(|_| fs::File::open("/in/data")).collect();
            open.map(drop)
        }
        "names" => {
            for number in 0..10_000_000 {
                fs::create_dir(format!("/tmp/{number}"))?;
            }
            Ok(())
        }
        "sleep" => {
            let before = (Instant::now(), SystemTime::now());
            std::thread::sleep(Duration::from_secs(60 * 60 * 24 * 365 * 500));
            println!("{:?} {:?}", before.0.elapsed(), before.1.elapsed().map_err(io::Error::other)?);
            Ok(())
        }
        "poll" => {
            wasip2::io::poll::poll(&[]);
            Ok(())
        }
        "spin" => loop {
            std::hint::black_box(0);
        },
        "now" => loop {
            std::hint::black_box(SystemTime::now());
        },
        "random" => {
            println!("{}", wasip2::random::random::get_random_bytes(1 << 40).len());
            Ok(())
        }
        "clock" => {
            let (now, start) = (SystemTime::now(), Instant::now());
            std::thread::sleep(Duration::from_millis(20));
            let now = now.duration_since(SystemTime::UNIX_EPOCH).map_err(io::Error::other)?;
            println!("{} {}", now.as_millis(), start.elapsed().as_micros());
            Ok(())
        }
        "escape" => escape(),
        "undeclared" => fs::write("/out/other", "x"),
        "binary" => io::stdout().write_all(b"text\nbi\0nary\n"),
        other => Err(io::Error::other(format!("no experiment `{other}`"))),
    }
}

/// Everything that could differ from one machine, or one run, to the next.
fn world(args: &[String]) -> io::Result<()> {
    println!("args {:?}", &args[1..]);
    println!("env {:?}", std::env::vars().collect::<Vec<_>>());
    println!("cwd {:?}", std::env::current_dir()?);
    println!("time {:?}", SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_err(io::Error::other)?);
    let start = Instant::now();
    std::thread::sleep(Duration::from_millis(1500));
    println!("slept {:?}", start.elapsed());
    println!("random {:?}", wasip2::random::random::get_random_bytes(4));
    // Its seed is random.
    let words: std::collections::HashSet<_> = ["a", "b", "c", "d", "e", "f"].into();
    println!("hash {}", words.into_iter().collect::<String>());
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    println!("stdin {text:?}");
    for path in ["/", "/in", "/in/tree"] {
        // In the order in which they come, unsorted.
        let names: io::Result<Vec<_>> = fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect();
        println!("{path} {:?}", names?);
    }
    for path in ["/in/data", "/in/tree/link"] {
        let meta = fs::symlink_metadata(path)?;
        println!("{path} {:?} {} {:?}", meta.file_type(), meta.len(), meta.modified()?);
    }
    println!("link {:?} {:?}", fs::read_link("/in/tree/link")?, fs::read_to_string("/in/tree/link")?);
    eprintln!("said to stderr");
    Ok(())
}

/// Files written out of order, renamed, removed, cut.
fn files() -> io::Result<()> {
    let mut file = fs::OpenOptions::new().create(true).truncate(true).read(true).write(true).open("/out/report")?;
    let block = [b'a'; 10_000];
    for _ in 0..20 {
        file.write_all(&block)?;
    }
    file.seek(SeekFrom::Start(5))?;
    file.write_all(b"BACK")?;
    let mut read = [0; 10];
    file.seek(SeekFrom::Start(0))?;
    file.read_exact(&mut read)?;
    assert_eq!(&read, b"aaaaaBACKa");
    file.set_len(150_000)?;
    file.seek(SeekFrom::End(10))?;
    file.write_all(b"end")?;
    drop(file);
    assert_eq!(fs::metadata("/out/report")?.len(), 150_013);

    fs::create_dir_all("/out/site/deep/er")?;
    fs::write("/out/site/a.txt", "first")?;
    fs::write("/tmp/b.txt", "temporary")?;
    assert!(fs::rename("/tmp/b.txt", "/out/site/b.txt").is_err(), "two devices");
    fs::copy("/tmp/b.txt", "/out/site/b.txt")?;
    fs::rename("/out/site/a.txt", "/out/site/deep/c.txt")?;
    fs::rename("/out/site/deep", "/out/site/moved")?;
    fs::OpenOptions::new().append(true).open("/out/site/moved/c.txt")?.write_all(b" and more")?;
    assert_eq!(fs::read_to_string("/out/site/moved/c.txt")?, "first and more");
    assert!(fs::remove_dir("/out/site/moved").is_err(), "it is not empty");
    fs::remove_dir("/out/site/moved/er")?;
    let held = fs::File::create("/out/site/gone")?;
    fs::remove_file("/out/site/gone")?;
    drop(held);
    fs::create_dir("/out/site/empty")?;

    // An input from behind: it is read in any order.
    let mut input = fs::File::open("/in/data")?;
    let size = input.seek(SeekFrom::End(0))?;
    let mut sum = 0_u64;
    for at in (0..size).step_by(50_000).collect::<Vec<_>>().into_iter().rev() {
        input.seek(SeekFrom::Start(at))?;
        input.read_exact(&mut read[..1])?;
        sum += u64::from(read[0]);
    }
    println!("{size} {sum}");
    Ok(())
}

fn copy(from: &str, to: &str) -> io::Result<()> {
    let (mut from, mut to) = (fs::File::open(from)?, fs::File::create(to)?);
    let mut buffer = vec![0; 1 << 20];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            count => to.write_all(&buffer[..count])?,
        }
    }
}

fn exit(code: &str) -> ! {
    eprintln!("one\ntwo\nthe reason");
    std::process::exit(code.parse().unwrap_or(1))
}

/// Ways out, each of which must fail.
fn escape() -> io::Result<()> {
    let said = |what: &str, result: io::Result<()>| match result {
        Ok(()) => println!("{what}: it worked"),
        Err(error) => println!("{what}: {:?}", error.kind()),
    };
    let read = |path: &str| fs::read(path).map(drop);
    for path in ["/etc/passwd", "/../etc/passwd", "../../../etc/passwd", "/in/../../etc/passwd", "/in/tree/../../../x"] {
        said(path, read(path));
    }
    said("write to an input", fs::write("/in/data", "x"));
    said("write beside inputs", fs::write("/in/new", "x"));
    said("write to a tree", fs::write("/in/tree/a.txt", "x"));
    said("write to the root", fs::write("/new", "x"));
    said("remove an input", fs::remove_file("/in/data"));
    said("remove /out", fs::remove_dir("/out"));
    said("rename /out", fs::rename("/out", "/tmp/out"));
    said("rename into itself", fs::create_dir("/out/a").and_then(|()| fs::rename("/out/a", "/out/a/b")));
    fs::remove_dir("/out/a")?;
    said("a long name", fs::write(format!("/out/{}", "n".repeat(300)), "x"));
    said("a line break", fs::write("/out/a\nb", "x"));
    assert!(!Path::new("/proc").exists());
    Ok(())
}
