def log = new File(basedir, 'build.log').text
assert log.contains('lima.env in ' + basedir + '/.mvn/maven.config does not count')
return true
