//! Every line of a policy bites, and adding a policy never allows more.

use proptest::prelude::*;

use super::*;
use crate::grant::{EnvValue, HttpGrant, ProcessGrant, SecretGrant, SecretPlace, TcpGrant};
use crate::policy::grants::ProcessRule;
use crate::policy::pattern::{HttpPattern, Root, SecretPattern, SourcePattern, TcpPattern, WordPattern};
use crate::policy::{EnvironmentRules, ExportRules, GrantRules, PluginRules, Revoked, Signer};

/// What a pipeline wants of everything, in the smallest form.
struct Wish {
    source: PluginSource,
    digest: Option<Digest>,
    locked: bool,
    signers: BTreeSet<String>,
    grants: Grants,
    secrets: BTreeMap<SecretName, SecretSource>,
    limits: Limits,
    said: BTreeSet<Limit>,
    variables: Vec<&'static str>,
    exports: Vec<Export>,
}

fn name(text: &str) -> SecretName {
    SecretName::new(text).unwrap()
}

fn api() -> HttpGrant {
    let mut api = HttpGrant::parse("GET https://api.acme.example/v1").unwrap();
    api.networks = patterns(&["10.1.0.0/16"]);
    api
}

fn wish() -> Wish {
    let mut limits = Limits::default();
    Limit::ALL.into_iter().for_each(|limit| limit.set(&mut limits, 100));
    Wish {
        source: PluginSource::Path { path: "plugins/scan.wasm".into(), digest: None },
        digest: Some(Digest::of(b"scan")),
        locked: true,
        signers: ["release".to_owned()].into(),
        grants: Grants {
            http: vec![api()],
            app: true,
            clock: true,
            process: vec![ProcessGrant {
                arguments: vec!["describe".into()],
                env: [("TOKEN".to_owned(), EnvValue::Secret(name("token")))].into(),
                ..ProcessGrant::new("git").unwrap()
            }],
            secrets: vec![SecretGrant { name: name("key"), to: Vec::new(), place: SecretPlace::Url }],
            tcp: vec![TcpGrant::parse("db.acme.example:5432").unwrap()],
        },
        secrets: [
            (name("token"), SecretSource::Env("GIT_TOKEN".into())),
            (name("key"), SecretSource::Store { name: "deploy-key".into(), environment: "staging".into() }),
        ]
        .into(),
        limits,
        said: Limit::ALL.into(),
        variables: vec!["CI"],
        exports: vec![Export { node: "a".parse().unwrap(), output: "out".parse().unwrap(), to: "dist/a".into() }],
    }
}

impl Wish {
    fn refusals(&self, policies: &[Policy]) -> Vec<Refusal> {
        let signers = vec![self.signers.clone(); policies.len()];
        let Self { source, digest, locked, .. } = self;
        let facts = PluginFacts { source, digest: *digest, locked: *locked, signers: &signers };
        let mut refusals = plugin(policies, &facts);
        refusals.extend(self.decide(policies).refusals);
        refusals.extend(exports(policies, self.exports.iter()));
        refusals
    }

    fn decide(&self, policies: &[Policy]) -> Decision {
        let Self { grants, secrets, limits, said, variables, .. } = self;
        node(policies, &NodeFacts { grants, secrets, asks: None, limits, said, variables })
    }

    fn rules(&self, policy: &Policy) -> Vec<Rule> {
        self.refusals(std::slice::from_ref(policy)).into_iter().map(|refusal| refusal.rule).collect()
    }
}

fn patterns<T: std::str::FromStr>(texts: &[&str]) -> Vec<T> {
    texts.iter().map(|text| text.parse().ok().unwrap()).collect()
}

/// Allows exactly what [`wish`] wants.
fn enough() -> Policy {
    Policy {
        name: "enough".into(),
        plugins: PluginRules {
            sources: patterns(&["path:plugins/*"]),
            digests_required: true,
            signed: ["release".to_owned()].into(),
        },
        signers: [("release".to_owned(), Signer { key: "-".into(), until: None })].into(),
        revoked: Revoked { keys: ["00".to_owned()].into(), digests: [Digest::of(b"other")].into() },
        limits: Limit::ALL.into_iter().map(|limit| (limit, 100)).collect(),
        grants: GrantRules {
            http: patterns(&["GET https://*.acme.example/"]),
            app: true,
            clock: true,
            process: vec![ProcessRule {
                program: "git".into(),
                arguments: vec!["describe".into()],
                env: patterns(&["TOKEN"]),
                ..ProcessRule::default()
            }],
            secrets: patterns(&["env:GIT_*", "store:deploy-*"]),
            secrets_in_urls: patterns(&["store:deploy-*"]),
            tcp: patterns(&["db.acme.example:5432"]),
            networks: patterns(&["10.0.0.0/8"]),
        },
        environment: EnvironmentRules { variables: patterns(&["CI", "BUILD_*"]), names: patterns(&["staging"]) },
        exports: ExportRules { roots: patterns(&["dist"]) },
    }
}

#[test]
fn every_line_bites() {
    assert_eq!(wish().refusals(&[enough()]), []);
    assert_eq!(wish().refusals(&[]), []);
    // Taken apart: a field without its line below does not compile.
    let Policy {
        name: _,
        plugins: PluginRules { sources: _, digests_required: _, signed: _ },
        // Whose signatures are valid is decided where signatures are checked; here it comes in as a fact.
        signers: _,
        revoked: Revoked { keys: _, digests: _ },
        limits: _,
        grants:
            GrantRules { http: _, app: _, clock: _, process: _, secrets: _, secrets_in_urls: _, tcp: _, networks: _ },
        environment: EnvironmentRules { variables: _, names: _ },
        exports: ExportRules { roots: _ },
    } = enough();
    let mut seen = BTreeSet::new();
    let mut bites = |rule: Rule, narrow: &dyn Fn(&mut Policy), want: &dyn Fn(&mut Wish)| {
        let (mut policy, mut wish) = (enough(), wish());
        narrow(&mut policy);
        want(&mut wish);
        assert_eq!(wish.rules(&policy), [rule]);
        assert_eq!(rule.name(), rule.to_string());
        seen.insert(rule);
    };
    let same = |_: &mut Wish| {};
    bites(Rule::Sources, &|policy| policy.plugins.sources = patterns(&["std", "path:other/**"]), &same);
    bites(Rule::Sources, &|policy| policy.plugins.sources = PluginRules::default().sources, &same);
    bites(Rule::Sources, &|policy| policy.plugins.sources = Vec::new(), &same);
    bites(Rule::Digests, &|_| {}, &|wish| wish.locked = false);
    bites(Rule::Signed, &|policy| policy.plugins.signed = ["other".to_owned()].into(), &same);
    bites(Rule::Signed, &|_| {}, &|wish| wish.signers.clear());
    bites(Rule::RevokedDigests, &|policy| policy.revoked.digests = [Digest::of(b"scan")].into(), &same);
    bites(Rule::Http, &|policy| policy.grants.http = patterns(&["GET https://api.acme.example/v2"]), &same);
    bites(Rule::Http, &|policy| policy.grants.http.clear(), &same);
    bites(Rule::App, &|policy| policy.grants.app = false, &same);
    bites(Rule::Clock, &|policy| policy.grants.clock = false, &same);
    // Each part of a program's line has its own test beside it.
    bites(Rule::Process, &|policy| policy.grants.process[0].env.clear(), &same);
    bites(Rule::Process, &|policy| policy.grants.process.clear(), &same);
    bites(Rule::Secrets, &|policy| policy.grants.secrets = patterns(&["env:GIT_*", "store:other"]), &same);
    bites(Rule::Secrets, &|policy| policy.grants.secrets = patterns(&["env:OTHER", "store:*"]), &same);
    bites(Rule::SecretsInUrls, &|policy| policy.grants.secrets_in_urls.clear(), &same);
    bites(Rule::SecretsInUrls, &|policy| policy.grants.secrets_in_urls = patterns(&["env:*", "store:key"]), &same);
    bites(Rule::Tcp, &|policy| policy.grants.tcp = patterns(&["db.acme.example:5433"]), &same);
    bites(Rule::Tcp, &|policy| policy.grants.tcp.clear(), &same);
    bites(Rule::Networks, &|policy| policy.grants.networks = patterns(&["10.1.1.0/24"]), &same);
    bites(Rule::Networks, &|_| {}, &|wish| wish.grants.tcp[0].networks = patterns(&["192.168.0.0/16"]));
    bites(Rule::Environments, &|policy| policy.environment.names = patterns(&["production"]), &same);
    bites(Rule::Environments, &|policy| policy.environment.names.clear(), &same);
    bites(Rule::Variables, &|policy| policy.environment.variables = patterns(&["BUILD_*"]), &same);
    bites(Rule::Roots, &|policy| policy.exports.roots = patterns(&["dist/b"]), &same);
    for limit in Limit::ALL {
        bites(Rule::Limit(limit), &|policy| policy.limits.extend([(limit, 99)]), &same);
        bites(Rule::Limit(limit), &|_| {}, &|wish| limit.set(&mut wish.limits, 101));
    }
    assert_eq!(seen, Rule::ALL.into());
    // A secret that comes from nowhere that is known is refused.
    let mut unknown = wish();
    unknown.secrets.clear();
    assert_eq!(unknown.rules(&enough()), [Rule::Secrets, Rule::Secrets, Rule::SecretsInUrls]);
}

#[test]
fn secrets_elsewhere_than_in_urls_need_no_line_of_urls() {
    let (mut policy, mut wish) = (enough(), wish());
    policy.grants.secrets_in_urls.clear();
    wish.grants.secrets[0].place = SecretPlace::Message;
    assert_eq!(wish.rules(&policy), []);
    // Where it may stand is no permission to take it.
    policy = enough();
    policy.grants.secrets = patterns(&["env:*"]);
    assert_eq!(wish.rules(&policy), [Rule::Secrets]);
}

#[test]
fn refusals_name_what_is_refused_and_what_is_allowed() {
    let (mut policy, wish) = (enough(), wish());
    policy.grants.http = patterns(&["* https://api.acme.example:*/v2"]);
    policy.limits.insert(Limit::Fuel, 50);
    policy.environment.variables.clear();
    let found = wish.refusals(&[enough(), policy]);
    let texts: Vec<_> = found.iter().map(|refusal| format!("{}; {}", refusal.message, refusal.allows)).collect();
    assert_eq!(
        texts,
        [
            "the grant of `GET https://api.acme.example:443/v1` goes beyond the policy; it allows `* https://api.acme.example:*/v2`",
            "the limit `fuel` of 100 is higher than the policy's; it allows at most 50",
            "the environment variable `CI` may not be read; without `environment.variables` nothing of the kind is allowed",
        ]
    );
    assert!(found.iter().all(|refusal| refusal.policy == 1));
    assert_eq!(found[0].subject, Subject::Grant("http", Some(0)));
}

#[test]
fn what_belongs_to_the_engine_is_pinned_and_signed_by_it() {
    let mut wish = wish();
    wish.source = PluginSource::Std { name: "pack".into(), digest: None };
    (wish.locked, wish.signers) = (false, BTreeSet::new());
    let mut policy = enough();
    policy.plugins.sources.push(SourcePattern::std());
    assert_eq!(wish.rules(&policy), []);
    policy.revoked.digests = [Digest::of(b"scan")].into();
    assert_eq!(wish.rules(&policy), [Rule::RevokedDigests]);
}

#[test]
fn a_digest_in_the_pipeline_pins() {
    let mut wish = wish();
    wish.locked = false;
    wish.source = PluginSource::Path { path: "plugins/scan.wasm".into(), digest: Some(Digest::of(b"scan")) };
    assert_eq!(wish.rules(&enough()), []);
    // What is demanded and revoked is refused also where the file could not be read.
    wish.digest = None;
    let mut policy = enough();
    policy.revoked.digests = [Digest::of(b"scan")].into();
    assert_eq!(wish.rules(&policy), [Rule::RevokedDigests]);
}

#[test]
fn an_empty_policy_allows_pure_nodes_of_the_engines_plugins() {
    let mut wish = wish();
    wish.source = PluginSource::Std { name: "pack".into(), digest: None };
    (wish.grants, wish.variables, wish.exports) = (Grants::default(), Vec::new(), Vec::new());
    assert_eq!(wish.rules(&Policy::default()), []);
}

#[test]
fn defaults_are_lowered_and_what_is_said_is_refused() {
    let mut wish = wish();
    wish.said = [Limit::Memory].into();
    let (mut first, mut second) = (enough(), enough());
    first.limits = [(Limit::Fuel, 60), (Limit::Memory, 100)].into();
    second.limits = [(Limit::Fuel, 50)].into();
    let decision = wish.decide(&[first, second]);
    assert_eq!(decision.refusals, []);
    assert_eq!(decision.in_force.fuel.0, 50);
    let of = |limit| decision.limits.iter().find(|decided| decided.limit == limit).unwrap().clone();
    assert_eq!(
        of(Limit::Fuel),
        LimitDecision { limit: Limit::Fuel, value: 50, by: SetBy::Policy(1), highest: Some(50) }
    );
    assert_eq!((of(Limit::Memory).by, of(Limit::Memory).highest), (SetBy::Pipeline, Some(100)));
    assert_eq!((of(Limit::Timeout).by, of(Limit::Timeout).highest), (SetBy::Default, None));
    wish.said = [Limit::Fuel].into();
    let mut policy = enough();
    policy.limits = [(Limit::Fuel, 60)].into();
    assert_eq!(wish.rules(&policy), [Rule::Limit(Limit::Fuel)]);
}

#[test]
fn each_kind_of_effect_stands_somewhere() {
    let standing = |asks: &[&str], grants: &Grants, policies: &[Policy]| {
        let asks: Vec<_> = asks.iter().map(|kind| (*kind).to_owned()).collect();
        let Wish { secrets, limits, .. } = wish();
        let (secrets, limits, said) = (&secrets, &limits, &BTreeSet::new());
        let facts = NodeFacts { grants, secrets, asks: Some(&asks), limits, said, variables: &[] };
        let found = node(policies, &facts).grants.into_iter().map(|grant| (grant.kind, grant.result));
        found.collect::<BTreeMap<_, _>>()
    };
    let all = |standing| ["app", "clock", "http", "process", "secrets", "tcp"].map(|kind| (kind, standing)).into();
    let (grants, none) = (wish().grants, Grants::default());
    assert_eq!(standing(&[], &none, &[]), all(Standing::Absent));
    assert_eq!(standing(&grants.kinds(), &none, &[]), all(Standing::NotGranted));
    assert_eq!(standing(&[], &grants, &[enough()]), all(Standing::Unused));
    assert_eq!(standing(&grants.kinds(), &grants, &[enough()]), all(Standing::InForce));
    assert_eq!(standing(&grants.kinds(), &grants, &[Policy::default()]), all(Standing::Refused));
    let mut policy = enough();
    policy.environment.names.clear();
    assert_eq!(standing(&[], &grants, &[policy])["secrets"], Standing::Refused);
}

#[test]
fn what_is_not_covered_does_not_reach_the_host() {
    let Wish { mut grants, secrets, .. } = wish();
    assert_eq!(enough().within(grants.clone(), &secrets), grants);
    grants.http.push(HttpGrant::parse("GET https://evil.example/").unwrap());
    grants.process.push(ProcessGrant::new("sh").unwrap());
    grants.tcp.push(TcpGrant::parse("evil.example:1").unwrap());
    grants.secrets.push(SecretGrant { name: name("other"), to: Vec::new(), place: SecretPlace::Message });
    let mut policy = enough();
    policy.grants.clock = false;
    assert_eq!(policy.within(grants, &secrets), Grants { clock: false, ..wish().grants });
    assert!(Policy::default().within(wish().grants, &secrets).is_empty());
    // Each line alone keeps what it speaks of from the host.
    for (narrow, kind) in [
        (&(|policy: &mut Policy| policy.grants.networks.clear()) as &dyn Fn(&mut Policy), "http"),
        (&|policy| policy.environment.names.clear(), "secrets"),
        (&|policy| policy.grants.secrets_in_urls.clear(), "secrets"),
        (&|policy| policy.grants.secrets = patterns(&["store:*"]), "process"),
    ] {
        let mut policy = enough();
        narrow(&mut policy);
        let left = policy.within(wish().grants, &secrets);
        assert!(!left.kinds().contains(&kind) && left.kinds().len() == 5, "{kind}");
    }
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let http = proptest::sample::subsequence(
        vec!["GET https://*.acme.example/", "* https://api.acme.example/v1", "GET http://*:*/", "POST https://b/"],
        0..4,
    );
    let sources = proptest::sample::subsequence(vec!["std", "path", "path:plugins/**", "std:pack"], 0..4);
    let words = proptest::sample::subsequence(vec!["CI", "BUILD_*", "*"], 0..3);
    let roots = proptest::sample::subsequence(vec!["dist", ".", "/srv"], 0..3);
    let limits = proptest::collection::btree_map(proptest::sample::select(Limit::ALL.to_vec()), 90..110_u64, 0..6);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let tcp = proptest::sample::subsequence(vec!["*:*", "db.acme.example:5432", "*.b:1"], 0..3);
    let secrets = proptest::sample::subsequence(vec!["env:*", "store:deploy-*", "store:x"], 0..3);
    let networks = proptest::sample::subsequence(vec!["10.0.0.0/8", "10.1.2.0/24"], 0..2);
    let git = proptest::sample::subsequence(vec!["describe", "...", "**"], 0..3);
    let in_urls = proptest::sample::subsequence(vec!["store:*", "env:*"], 0..2);
    let more = (tcp, secrets, networks, git, in_urls);
    (http, sources, words, roots, limits, flags, more).prop_map(|(http, sources, words, roots, limits, flags, more)| {
        let (tcp, secrets, networks, git, in_urls) = more;
        let (clock, digests_required, signed, revoked) = flags;
        Policy {
            name: "any".into(),
            plugins: PluginRules {
                sources: patterns::<SourcePattern>(&sources),
                digests_required,
                signed: signed.then(|| "release".to_owned()).into_iter().collect(),
            },
            signers: Default::default(),
            revoked: Revoked {
                keys: BTreeSet::new(),
                digests: revoked.then(|| Digest::of(b"scan")).into_iter().collect(),
            },
            limits,
            grants: GrantRules {
                http: patterns::<HttpPattern>(&http),
                app: !clock,
                clock,
                process: vec![ProcessRule {
                    program: "git".into(),
                    arguments: git.iter().map(ToString::to_string).collect(),
                    env: patterns(&["*"]),
                    ..ProcessRule::default()
                }],
                secrets: patterns::<SecretPattern>(&secrets),
                secrets_in_urls: patterns::<SecretPattern>(&in_urls),
                tcp: patterns::<TcpPattern>(&tcp),
                networks: patterns(&networks),
            },
            environment: EnvironmentRules {
                variables: patterns::<WordPattern>(&words),
                names: patterns::<WordPattern>(&words),
            },
            exports: ExportRules { roots: patterns::<Root>(&roots) },
        }
    })
}

proptest! {
    /// Whatever one policy refuses, it refuses beside others too; limits only fall.
    #[test]
    fn adding_a_policy_never_allows_more(
        policies in proptest::collection::vec(any_policy(), 0..3),
        more in any_policy(),
        said in proptest::sample::subsequence(Limit::ALL.to_vec(), 0..6),
        signed in any::<bool>(),
        locked in any::<bool>(),
    ) {
        let mut wish = wish();
        wish.said = said.into_iter().collect();
        wish.locked = locked;
        if !signed {
            wish.signers.clear();
        }
        let (before, decided) = (wish.refusals(&policies), wish.decide(&policies));
        let mut all = policies.clone();
        all.push(more.clone());
        let (after, narrower) = (wish.refusals(&all), wish.decide(&all));
        prop_assert!(before.iter().all(|refusal| after.contains(refusal)));
        for limit in Limit::ALL {
            prop_assert!(limit.of(&narrower.in_force) <= limit.of(&decided.in_force));
        }
        // What reaches the host passes each policy alone.
        let reaching = all.iter().fold(wish.grants.clone(), |grants, policy| policy.within(grants, &wish.secrets));
        for policy in &all {
            prop_assert_eq!(policy.within(reaching.clone(), &wish.secrets), reaching.clone());
        }
        let refused = after.iter().any(|refusal| matches!(refusal.subject, Subject::Grant(..)));
        prop_assert_eq!(refused, reaching != wish.grants);
    }
}
