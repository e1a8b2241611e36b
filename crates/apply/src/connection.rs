//! A connection to one cluster: who we are there, and how its API server is reached.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{HeaderName, HeaderValue, Uri};
use kube::{
    Client, Config,
    client::ConfigExt as _,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::{
    api::Session,
    transport::{Transport, Verb},
};

/// Why a kubeconfig or a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The text is no kubeconfig. What it says is left out: it holds credentials.
    #[error("kubeconfig is not valid: {0}")]
    Kubeconfig(String),
    /// The credentials come from running a program.
    #[error(
        "kubeconfig user {user:?} runs a program for its credentials ({program}), which is refused\n\
         hint: use a service account token; `fairway create cluster` makes one with your own credentials"
    )]
    ExecRefused {
        /// Name of the user, or `unknown`.
        user: String,
        /// The program that was not run.
        program: String,
    },
    /// The certificate of the server would not be checked.
    #[error(
        "kubeconfig says insecure-skip-tls-verify, which is refused\n\
         hint: set certificate-authority-data instead, or allow it with --insecure-kubeconfig-tls"
    )]
    InsecureTls,
    /// Credentials would travel in clear.
    #[error("server {0} is not https, which is refused\nhint: use an https address")]
    PlainHttp(String),
    /// The kubeconfig names files of this machine.
    #[error(
        "kubeconfig refers to the file {path:?}, which is refused\n\
         hint: make it self-contained: kubectl config view --flatten --minify --raw"
    )]
    FileRefused {
        /// The file that was not read.
        path: String,
    },
    /// A proxy of a kind that is not known is asked for.
    #[error("proxy-url of scheme {0:?} is not supported\nhint: name an http:// or socks5:// proxy")]
    ProxyUnsupported(String),
    /// TLS cannot be set up.
    #[error("cannot set up TLS for {server}: {reason}")]
    Tls {
        /// Address of the API server.
        server: String,
        /// What is wrong.
        reason: String,
    },
    /// A header value has characters that HTTP does not allow.
    #[error("{0} has characters that cannot be sent in a header")]
    Header(&'static str),
    /// The process runs in no cluster.
    #[error("no in-cluster configuration: {0}")]
    InCluster(String),
}

/// What a kubeconfig may ask for. The default allows nothing that a kubeconfig in a Secret should not do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Strictness {
    /// Files of this machine may be read: keys, certificates, tokens. For the user's own kubeconfig only; one
    /// from a Secret could otherwise send our own token elsewhere.
    pub allow_files: bool,
    /// The server's certificate may go unchecked.
    pub allow_insecure_tls: bool,
}

impl Strictness {
    /// For a kubeconfig that the user named on the command line.
    pub const fn trusted() -> Self {
        Self {
            allow_files: true,
            allow_insecure_tls: true,
        }
    }
}

/// The account that requests are made as, instead of the connection's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Impersonation {
    /// User, such as `system:serviceaccount:flux-system:fairway-applier`. Never empty.
    pub user: String,
    /// Groups.
    pub groups: Vec<String>,
}

impl Impersonation {
    /// A service account. No group is named: the API server gives a service account its groups itself, and asks for no
    /// right to impersonate them.
    pub fn service_account(namespace: &str, name: &str) -> Self {
        Self {
            user: format!("system:serviceaccount:{namespace}:{name}"),
            groups: Vec::new(),
        }
    }

    pub(crate) fn headers(&self) -> Result<Vec<(HeaderName, HeaderValue)>, ConnectionError> {
        let value = |text: &str| match HeaderValue::from_str(text) {
            Ok(value) if !text.is_empty() => Ok(value),
            _ => Err(ConnectionError::Header("the impersonated account")),
        };
        let mut headers = vec![(
            HeaderName::from_static("impersonate-user"),
            value(&self.user)?,
        )];
        for group in &self.groups {
            headers.push((HeaderName::from_static("impersonate-group"), value(group)?));
        }
        Ok(headers)
    }
}

/// Brings the bearer token for each request: one that expires and is renewed.
pub trait Bearer: fmt::Debug + Send + Sync {
    /// A token that is valid now, or why there is none (without quoting one).
    fn token(&self) -> futures::future::BoxFuture<'_, Result<String, String>>;

    /// The server refused the last token: answers whether the next one may be another.
    fn refused(&self) -> bool {
        false
    }
}

/// A connection to one cluster. Cheap to clone; clones share their connections, whoever they impersonate.
#[derive(Clone)]
pub struct Connection {
    pub(crate) transport: Arc<Transport>,
    namespace: Arc<str>,
    clients: Arc<Mutex<HashMap<Option<Impersonation>, Client>>>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("server", &self.transport.server())
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects by the text of a kubeconfig: its current context, or the one that is named.
    ///
    /// Nothing is sent yet.
    pub async fn from_kubeconfig_yaml(
        text: &str,
        context: Option<&str>,
        rules: Strictness,
    ) -> Result<Self, ConnectionError> {
        let kubeconfig = Kubeconfig::from_yaml(text)
            // The parser's own message quotes the source.
            .map_err(|_| {
                ConnectionError::Kubeconfig("it cannot be read as YAML of a kubeconfig".to_owned())
            })?;
        Self::from_kubeconfig(kubeconfig, context, rules).await
    }

    /// Connects by a kubeconfig: its current context, or the one that is named.
    pub async fn from_kubeconfig(
        kubeconfig: Kubeconfig,
        context: Option<&str>,
        rules: Strictness,
    ) -> Result<Self, ConnectionError> {
        check(&kubeconfig, context, rules)?;
        let options = KubeConfigOptions {
            context: context.map(str::to_owned),
            ..Default::default()
        };
        let asked = proxy_of(&kubeconfig, context);
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .map_err(|error| ConnectionError::Kubeconfig(error.to_string()))?;
        // What kube found in the environment knows no exceptions.
        config.proxy_url = None;
        if let Some(proxy) = asked {
            return Self::through(config, rules, Some(&proxy));
        }
        Self::from_config(config, rules)
    }

    /// Connects to the cluster of a kubeconfig, with tokens from elsewhere instead of its credentials.
    pub async fn from_kubeconfig_with_bearer(
        kubeconfig: Kubeconfig,
        rules: Strictness,
        bearer: Arc<dyn Bearer>,
    ) -> Result<Self, ConnectionError> {
        let mut connection = Self::from_kubeconfig(kubeconfig, None, rules).await?;
        if let Some(transport) = Arc::get_mut(&mut connection.transport) {
            transport.set_bearer(bearer);
        }
        Ok(connection)
    }

    /// Connects as a pod does in its own cluster.
    pub fn in_cluster() -> Result<Self, ConnectionError> {
        let config =
            Config::incluster().map_err(|error| ConnectionError::InCluster(error.to_string()))?;
        Self::from_config(
            config,
            Strictness {
                allow_files: true,
                allow_insecure_tls: false,
            },
        )
    }

    /// Connects by kube's configuration.
    pub fn from_config(config: Config, rules: Strictness) -> Result<Self, ConnectionError> {
        let proxy = match &config.proxy_url {
            Some(proxy) => Some(proxy.to_string()),
            None => crate::transport::dial::of_environment(&config.cluster_url),
        };
        Self::through(config, rules, proxy.as_deref())
    }

    fn through(
        config: Config,
        rules: Strictness,
        proxy: Option<&str>,
    ) -> Result<Self, ConnectionError> {
        let server = config.cluster_url.to_string();
        if let Some(exec) = &config.auth_info.exec {
            return Err(ConnectionError::ExecRefused {
                user: "unknown".to_owned(),
                program: exec.command.clone().unwrap_or_default(),
            });
        }
        if let Some(provider) = &config.auth_info.auth_provider {
            return Err(ConnectionError::ExecRefused {
                user: "unknown".to_owned(),
                program: provider.name.clone(),
            });
        }
        if config.accept_invalid_certs && !rules.allow_insecure_tls {
            return Err(ConnectionError::InsecureTls);
        }
        if config.cluster_url.scheme_str() != Some("https")
            && !(rules.allow_insecure_tls || is_loopback(&config.cluster_url))
        {
            return Err(ConnectionError::PlainHttp(server));
        }
        // The binary installs the provider first thing; tests and examples may not.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let tls = config
            .rustls_client_config()
            .map_err(|error| ConnectionError::Tls {
                server: server.clone(),
                reason: crate::error::chain(&error),
            })?;
        let namespace = config.default_namespace.as_str().into();
        let transport = Arc::new(Transport::new(&config, tls, proxy)?);
        Ok(Self {
            transport,
            namespace,
            clients: Arc::default(),
        })
    }

    /// Address of the API server.
    pub fn server(&self) -> &str {
        self.transport.server()
    }

    /// Namespace that the kubeconfig's context names; `default` where it names none.
    pub fn default_namespace(&self) -> &str {
        &self.namespace
    }

    /// A kube client with the connection's own credentials.
    ///
    /// # Panics
    /// Outside a tokio runtime, as kube's clients do.
    pub fn client(&self) -> Client {
        self.cached(None, Vec::new())
    }

    /// A kube client that impersonates another account; it shares this connection's pool.
    pub fn client_as(&self, account: &Impersonation) -> Result<Client, ConnectionError> {
        Ok(self.cached(Some(account.clone()), account.headers()?))
    }

    fn cached(
        &self,
        account: Option<Impersonation>,
        headers: Vec<(HeaderName, HeaderValue)>,
    ) -> Client {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients
            .entry(account)
            .or_insert_with(|| {
                Client::new(self.transport.service(headers), self.namespace.to_string())
            })
            .clone()
    }

    /// Plain requests with the connection's own credentials.
    pub fn session(&self) -> Session {
        Session::new(self.clone(), Vec::new())
    }

    /// Plain requests as another account.
    pub fn session_as(&self, account: &Impersonation) -> Result<Session, ConnectionError> {
        Ok(Session::new(self.clone(), account.headers()?))
    }

    /// How many requests were sent so far, by verb.
    pub fn requests(&self) -> BTreeMap<&'static str, u64> {
        Verb::ALL
            .iter()
            .map(|verb| (verb.name(), self.transport.count(*verb)))
            .filter(|(_, n)| *n > 0)
            .collect()
    }

    /// How many requests were sent so far.
    pub fn request_count(&self) -> u64 {
        Verb::ALL
            .iter()
            .map(|verb| self.transport.count(*verb))
            .sum()
    }

    /// Changes each time the API server is back after nobody answered, or after it only said that it cannot serve.
    pub fn returns(&self) -> tokio::sync::watch::Receiver<u64> {
        self.transport.reach().returns()
    }

    /// The API server's version, such as `v1.37.0`: the cheapest way to see whether it answers and whether it
    /// accepts the credentials.
    pub async fn version(&self) -> Result<String, crate::RequestError> {
        let answer = self.session().get_path("/version").await?;
        Ok(answer
            .get("gitVersion")
            .and_then(serde_json::Value::as_str)
            .unwrap_or("unknown")
            .to_owned())
    }
}

/// How long a request may take until its answer has arrived whole.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) fn is_loopback(uri: &Uri) -> bool {
    uri.host().is_some_and(|host| {
        host == "localhost"
            || host
                .trim_matches(['[', ']'])
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    })
}

/// The proxy that the cluster of the named context has.
fn proxy_of(kubeconfig: &Kubeconfig, context: Option<&str>) -> Option<String> {
    let name = context.or(kubeconfig.current_context.as_deref())?;
    let mut contexts = kubeconfig.contexts.iter();
    let context = contexts
        .find(|named| named.name == name)?
        .context
        .as_ref()?;
    let mut clusters = kubeconfig.clusters.iter();
    let cluster = clusters.find(|named| named.name == context.cluster)?;
    let proxy = cluster.cluster.as_ref()?.proxy_url.clone()?;
    (!proxy.is_empty()).then_some(proxy)
}

/// Checks what the named context would use before anything of it is used.
fn check(
    kubeconfig: &Kubeconfig,
    context: Option<&str>,
    rules: Strictness,
) -> Result<(), ConnectionError> {
    let invalid = |reason: String| ConnectionError::Kubeconfig(reason);
    let name = context
        .or(kubeconfig.current_context.as_deref())
        .ok_or_else(|| invalid("it has no current-context".to_owned()))?;
    let context = kubeconfig
        .contexts
        .iter()
        .find(|context| context.name == name)
        .and_then(|named| named.context.as_ref())
        .ok_or_else(|| invalid(format!("it has no context {name:?}")))?;
    let cluster = kubeconfig
        .clusters
        .iter()
        .find(|cluster| cluster.name == context.cluster)
        .and_then(|named| named.cluster.as_ref())
        .ok_or_else(|| invalid(format!("it has no cluster {:?}", context.cluster)))?;
    if cluster.insecure_skip_tls_verify == Some(true) && !rules.allow_insecure_tls {
        return Err(ConnectionError::InsecureTls);
    }
    let refuse_file = |path: Option<&String>| match path {
        Some(path) if !rules.allow_files => {
            Err(ConnectionError::FileRefused { path: path.clone() })
        }
        _ => Ok(()),
    };
    refuse_file(cluster.certificate_authority.as_ref())?;
    let Some(user_name) = &context.user else {
        return Ok(());
    };
    let Some(user) = kubeconfig
        .auth_infos
        .iter()
        .find(|user| &user.name == user_name)
    else {
        return Err(invalid(format!("it has no user {user_name:?}")));
    };
    let Some(user) = &user.auth_info else {
        return Ok(());
    };
    if let Some(exec) = &user.exec {
        return Err(ConnectionError::ExecRefused {
            user: user_name.clone(),
            program: exec.command.clone().unwrap_or_default(),
        });
    }
    if let Some(provider) = &user.auth_provider {
        return Err(ConnectionError::ExecRefused {
            user: user_name.clone(),
            program: provider.name.clone(),
        });
    }
    refuse_file(user.token_file.as_ref())?;
    refuse_file(user.client_certificate.as_ref())?;
    refuse_file(user.client_key.as_ref())
}
