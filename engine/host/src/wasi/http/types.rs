//! The types of `wasi:http/types`, and our errors in its words.

use wasmtime::component::{ComponentType, Lift, Lower};

use crate::bindings::http::Error;

/// `method`
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(variant)]
pub(crate) enum Method {
    #[component(name = "get")]
    Get,
    #[component(name = "head")]
    Head,
    #[component(name = "post")]
    Post,
    #[component(name = "put")]
    Put,
    #[component(name = "delete")]
    Delete,
    #[component(name = "connect")]
    Connect,
    #[component(name = "options")]
    Options,
    #[component(name = "trace")]
    Trace,
    #[component(name = "patch")]
    Patch,
    #[component(name = "other")]
    Other(String),
}

impl Method {
    /// As it stands in a request.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Patch => "PATCH",
            Self::Other(text) => text,
        }
    }
}

/// `scheme`
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(variant)]
pub(crate) enum Scheme {
    #[component(name = "HTTP")]
    Http,
    #[component(name = "HTTPS")]
    Https,
    #[component(name = "other")]
    Other(String),
}

/// `header-error`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(variant)]
pub(crate) enum HeaderError {
    #[component(name = "invalid-syntax")]
    InvalidSyntax,
    #[component(name = "forbidden")]
    Forbidden,
    #[component(name = "immutable")]
    Immutable,
}

/// `DNS-error-payload`
#[derive(Debug, Clone, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct DnsError {
    pub(crate) rcode: Option<String>,
    #[component(name = "info-code")]
    pub(crate) info_code: Option<u16>,
}

/// `TLS-alert-received-payload`
#[derive(Debug, Clone, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct TlsAlert {
    #[component(name = "alert-id")]
    pub(crate) id: Option<u8>,
    #[component(name = "alert-message")]
    pub(crate) message: Option<String>,
}

/// `field-size-payload`
#[derive(Debug, Clone, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct FieldSize {
    #[component(name = "field-name")]
    pub(crate) name: Option<String>,
    #[component(name = "field-size")]
    pub(crate) size: Option<u32>,
}

/// `error-code`
#[derive(Debug, Clone, ComponentType, Lift, Lower)]
#[component(variant)]
#[allow(dead_code, reason = "a variant of WASI has all of its cases")]
pub(crate) enum ErrorCode {
    #[component(name = "DNS-timeout")]
    DnsTimeout,
    #[component(name = "DNS-error")]
    Dns(DnsError),
    #[component(name = "destination-not-found")]
    DestinationNotFound,
    #[component(name = "destination-unavailable")]
    DestinationUnavailable,
    #[component(name = "destination-IP-prohibited")]
    DestinationIpProhibited,
    #[component(name = "destination-IP-unroutable")]
    DestinationIpUnroutable,
    #[component(name = "connection-refused")]
    ConnectionRefused,
    #[component(name = "connection-terminated")]
    ConnectionTerminated,
    #[component(name = "connection-timeout")]
    ConnectionTimeout,
    #[component(name = "connection-read-timeout")]
    ConnectionReadTimeout,
    #[component(name = "connection-write-timeout")]
    ConnectionWriteTimeout,
    #[component(name = "connection-limit-reached")]
    ConnectionLimitReached,
    #[component(name = "TLS-protocol-error")]
    TlsProtocol,
    #[component(name = "TLS-certificate-error")]
    TlsCertificate,
    #[component(name = "TLS-alert-received")]
    TlsAlert(TlsAlert),
    #[component(name = "HTTP-request-denied")]
    RequestDenied,
    #[component(name = "HTTP-request-length-required")]
    RequestLengthRequired,
    #[component(name = "HTTP-request-body-size")]
    RequestBodySize(Option<u64>),
    #[component(name = "HTTP-request-method-invalid")]
    RequestMethodInvalid,
    #[component(name = "HTTP-request-URI-invalid")]
    RequestUriInvalid,
    #[component(name = "HTTP-request-URI-too-long")]
    RequestUriTooLong,
    #[component(name = "HTTP-request-header-section-size")]
    RequestHeaderSectionSize(Option<u32>),
    #[component(name = "HTTP-request-header-size")]
    RequestHeaderSize(Option<FieldSize>),
    #[component(name = "HTTP-request-trailer-section-size")]
    RequestTrailerSectionSize(Option<u32>),
    #[component(name = "HTTP-request-trailer-size")]
    RequestTrailerSize(FieldSize),
    #[component(name = "HTTP-response-incomplete")]
    ResponseIncomplete,
    #[component(name = "HTTP-response-header-section-size")]
    ResponseHeaderSectionSize(Option<u32>),
    #[component(name = "HTTP-response-header-size")]
    ResponseHeaderSize(FieldSize),
    #[component(name = "HTTP-response-body-size")]
    ResponseBodySize(Option<u64>),
    #[component(name = "HTTP-response-trailer-section-size")]
    ResponseTrailerSectionSize(Option<u32>),
    #[component(name = "HTTP-response-trailer-size")]
    ResponseTrailerSize(FieldSize),
    #[component(name = "HTTP-response-transfer-coding")]
    ResponseTransferCoding(Option<String>),
    #[component(name = "HTTP-response-content-coding")]
    ResponseContentCoding(Option<String>),
    #[component(name = "HTTP-response-timeout")]
    ResponseTimeout,
    #[component(name = "HTTP-upgrade-failed")]
    UpgradeFailed,
    #[component(name = "HTTP-protocol-error")]
    Protocol,
    #[component(name = "loop-detected")]
    LoopDetected,
    #[component(name = "configuration-error")]
    Configuration,
    #[component(name = "internal-error")]
    Internal(Option<String>),
}

impl From<&Error> for ErrorCode {
    fn from(error: &Error) -> Self {
        match error.code.as_str() {
            "not-granted" => Self::RequestDenied,
            "resolve" => Self::Dns(DnsError { rcode: Some(error.message.clone()), info_code: None }),
            "connect" => Self::ConnectionRefused,
            "tls" => Self::TlsProtocol,
            "timeout" => Self::ResponseTimeout,
            "protocol" => Self::Protocol,
            _ => Self::Internal(Some(error.message.clone())),
        }
    }
}
