# Golden values from R's forecast package; writes r.json beside this file.
#
# Made with R 4.2.2 and forecast 8.20 (Debian 12: apt-get install r-base-core r-cran-forecast):
#     Rscript forecast.R > r.json
#
# Series are those of R's own datasets. arima: maximum likelihood (method "ML"), whose starting distribution of the
# differenced series is nearly, not exactly, the stationary one. auto: auto.arima without approximation. ets: R's log-likelihood
# leaves out a constant, which is added here, so that it is that of Gaussian errors. theta: thetaf.

suppressMessages(library(forecast))

number <- function(v) ifelse(is.na(v), "null", sprintf("%.15g", v))
numbers <- function(v) paste0("[", paste(number(as.numeric(v)), collapse = ","), "]")
string <- function(s) paste0("\"", s, "\"")
fields <- function(of) paste0("{", paste0("\"", names(of), "\":", of, collapse = ","), "}")
object <- function(...) fields(unlist(list(...)))
rows <- function(of) paste0("[\n", paste(of, collapse = ",\n"), "\n]")
named <- function(v) fields(setNames(number(v), names(v)))

series <- list(
  air = AirPassengers, log_air = log(AirPassengers), gas = UKgas, log_gas = log(UKgas), deaths = USAccDeaths,
  nottem = nottem, co2 = window(co2, 1980), lynx = log(lynx), huron = LakeHuron, nile = Nile, www = WWWusage,
  presidents = na.interp(presidents)
)

path <- function(f) list(mean = numbers(f$mean), lower = numbers(f$lower[, 1]), upper = numbers(f$upper[, 1]))

arima_case <- function(name, order, seasonal = c(0, 0, 0), ...) {
  y <- series[[name]]
  fit <- Arima(y, order = order, seasonal = seasonal, method = "ML", ...)
  p <- path(forecast(fit, h = 12, level = 95))
  object(series = string(name), order = numbers(order), seasonal = numbers(seasonal), m = number(frequency(y)),
    mean = if ("intercept" %in% names(coef(fit))) "true" else "false",
    drift = if ("drift" %in% names(coef(fit))) "true" else "false",
    loglik = number(fit$loglik), aicc = number(fit$aicc), coef = named(coef(fit)),
    path_mean = p$mean, path_lower = p$lower, path_upper = p$upper)
}

xreg_case <- function() {
  x <- as.numeric(time(LakeHuron)) - 1920
  fit <- Arima(LakeHuron, order = c(2, 0, 0), xreg = x, method = "ML")
  object(x = numbers(x), loglik = number(fit$loglik), coef = named(setNames(coef(fit), c("ar1", "ar2", "mean", "x"))))
}

auto_case <- function(name) {
  y <- series[[name]]
  fit <- auto.arima(y, approximation = FALSE)
  o <- arimaorder(fit)
  object(series = string(name), m = number(frequency(y)), order = numbers(o[1:3]),
    seasonal = numbers(if (length(o) > 3) o[4:6] else c(0, 0, 0)),
    constant = if (any(c("intercept", "drift") %in% names(coef(fit)))) "true" else "false",
    loglik = number(fit$loglik), aicc = number(fit$aicc), nsdiffs = number(if (frequency(y) > 1) nsdiffs(y) else 0))
}

ets_case <- function(name, model, damped) {
  y <- series[[name]]
  fit <- ets(y, model = model, damped = damped)
  n <- length(y)
  letters <- strsplit(model, "")[[1]]
  object(series = string(name), m = number(frequency(y)),
    model = string(paste0("ETS(", letters[1], ",", letters[2], if (damped) "d" else "", ",", letters[3], ")")),
    loglik = number(fit$loglik - n / 2 * (log(2 * pi / n) + 1)),
    path_mean = numbers(forecast(fit, h = 12)$mean))
}

theta_case <- function(name) {
  y <- series[[name]]
  f <- thetaf(y, h = 12, level = 95)
  object(series = string(name), m = number(frequency(y)), path_mean = numbers(f$mean))
}

write(object(
  versions = string(paste0(R.version.string, ", forecast ", packageVersion("forecast"))),
  series = fields(sapply(series, numbers)),
  arima = rows(c(
    arima_case("air", c(2, 1, 1)),
    arima_case("log_air", c(0, 1, 1), c(0, 1, 1)),
    arima_case("log_air", c(1, 1, 1), c(1, 1, 1)),
    arima_case("log_gas", c(1, 0, 1), c(0, 1, 1)),
    arima_case("log_gas", c(0, 1, 1), c(0, 1, 1)),
    arima_case("deaths", c(0, 1, 1), c(0, 1, 1)),
    arima_case("nottem", c(1, 0, 0), c(0, 1, 1), include.drift = TRUE),
    arima_case("co2", c(1, 1, 1), c(0, 1, 1)),
    arima_case("lynx", c(2, 0, 2)),
    arima_case("huron", c(1, 0, 1)),
    arima_case("huron", c(0, 1, 1), include.drift = TRUE),
    arima_case("nile", c(1, 1, 1)),
    arima_case("www", c(3, 1, 0)),
    arima_case("presidents", c(3, 0, 0), include.mean = FALSE)
  )),
  xreg = xreg_case(),
  auto = rows(sapply(names(series), auto_case)),
  ets = rows(c(
    ets_case("air", "MAM", TRUE), ets_case("air", "MAM", FALSE), ets_case("air", "AAA", FALSE),
    ets_case("gas", "MAM", FALSE), ets_case("deaths", "ANA", FALSE), ets_case("nottem", "ANA", FALSE),
    ets_case("co2", "AAA", TRUE), ets_case("nile", "ANN", FALSE), ets_case("www", "AAN", TRUE),
    ets_case("www", "MAN", FALSE), ets_case("huron", "ANN", FALSE)
  )),
  theta = rows(sapply(names(series), theta_case))
), stdout())
