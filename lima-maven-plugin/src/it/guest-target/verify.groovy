def log = new File(basedir, 'build.log').text
assert log.contains('ON DISK')
assert log.contains('exited with status 1 in the sandbox')
assert log.contains('lima.target is guest or host, not nowhere')
assert new File(basedir, 'target/surefire-reports/TEST-a.xml').text == 'report\n'
assert new File(basedir, 'a/target/failsafe-reports/TEST-b.xml').text == 'report\n'
assert !new File(basedir, 'target/classes').exists()
return true
