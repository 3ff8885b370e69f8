# Golden values of the seasonal unit-root test of Osborn, Chui, Smith and Birchenhall; writes ocsb.json beside this file.
#
# Made with R 4.2.2 and forecast 8.20 (Debian 12: apt-get install r-base-core r-cran-forecast):
#     Rscript ocsb.R > ocsb.json
#
# Series are those of R's own datasets and of the package. fixed: the statistic with 0, 1, 2 and 3 lags; aic: the one that
# nsdiffs(test = "ocsb") looks at, and its number of lags.

suppressMessages(library(forecast))

numbers <- function(v) paste0("[", paste(sprintf("%.15g", as.numeric(v)), collapse = ","), "]")

series <- list(
  air = AirPassengers, log_air = log(AirPassengers), gas = UKgas, log_gas = log(UKgas), deaths = USAccDeaths,
  nottem = nottem, co2 = window(co2, 1980), presidents = na.interp(presidents), lung = ldeaths, jj = log(JohnsonJohnson),
  drivers = Seatbelts[, "DriversKilled"], wine = wineind, wool = woolyrnq, taylor = window(taylor, end = c(4, 336))
)

case <- function(name) {
  y <- series[[name]]
  fixed <- sapply(0:3, function(lag) ocsb.test(y, maxlag = lag, lag.method = "fixed")$statistics)
  aic <- ocsb.test(y, maxlag = 3, lag.method = "AIC")
  paste0("{\"name\":\"", name, "\",\"m\":", frequency(y), ",\"fixed\":", numbers(fixed),
    ",\"aic\":", numbers(aic$statistics), ",\"lags\":", aic$lag.order, ",\"critical\":", numbers(aic$critical),
    ",\"nsdiffs\":", nsdiffs(y, test = "ocsb"), ",\"series\":", numbers(y), "}")
}

cat("{\"versions\":\"", R.version.string, ", forecast ", as.character(packageVersion("forecast")), "\",\"cases\":[\n", sep = "")
cat(sapply(names(series), case), sep = ",\n")
cat("\n]}\n")
