# Written by regprov. Holds no secret: the logins lie in the file that it names.
if ( -r /etc/regprov/docker-config.json ) then
  setenv APPTAINER_AUTH_FILE /etc/regprov/docker-config.json
  setenv SINGULARITY_AUTHFILE /etc/regprov/docker-config.json
endif
